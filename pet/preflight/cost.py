"""Estimate how long a run takes: a few updates and scored texts are timed, and the rest is multiplication."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from pet.backbones.base import LanguageModel
from pet.cloze.pvp import PVP
from pet.data.checks import column_labels
from pet.data.pick import evenly_spaced
from pet.ipet.plan import Plan
from pet.members.pattern_labels import number_of_texts
from pet.members.shared import Shared
from pet.members.training import ClozeData, asked_data, train_member
from pet.preflight.halves import DRAWS, FEWEST, MOST_COST, half_recipe, relative_cost, size_of
from pet.recipe import Recipe
from pet.student.classifier import new_classifier
from pet.student.distill import Distillation, fit_classifier, gold_targets
from pet.training.device import Accelerator
from pet.training.loop import Schedule
from pet.tuning.members import Backbone, start_member

if TYPE_CHECKING:
    from datasets import Dataset

UPDATES = 3  # timed updates; the one before them is not timed
MAX_TIMED = 500  # texts to train on
_RATE = 1e-6  # the weights are discarded; a small rate keeps the loss finite


@dataclass(frozen=True)
class Speed:
    """What was measured.

    Attributes
    ----------
    load : seconds to open the model
    scored_tokens : tokens scored per second
    member_update : seconds per update of a member; None if it was not measured
    student_update : seconds per update of the student; None if there is no student
    """

    load: float
    scored_tokens: float
    member_update: float | None = None
    student_update: float | None = None


@dataclass(frozen=True)
class Round:
    """An ensemble, or one generation of iPET.

    Attributes
    ----------
    members : number of members
    updates : updates of each member; None if members are not trained
    tokens : tokens that each member scores
    """

    members: int
    updates: int | None
    tokens: float


@dataclass(frozen=True)
class Work:
    """What a run does.

    Attributes
    ----------
    rounds : the generations; PET has one
    student_updates : updates of the student
    """

    rounds: Sequence[Round]
    student_updates: int


def training_sets(plan: Plan, pool: int) -> list[int]:
    """Return the number of training texts of a member in each generation of iPET; 0 for the untrained model.

    This assumes that the run does not stop early, and that no label runs out of texts before the pool does.

    Parameters
    ----------
    plan : see `pet.ipet.plan.make_plan`
    pool : number of unlabeled texts; no member gets more of them
    """
    labeled = int(plan.counts.sum())
    new = [min(int(plan.wanted(generation).sum()), pool) for generation in range(1, plan.last + 1)]
    return [labeled, *(labeled + count for count in new)]


def rounds_of(recipe: Recipe, sizes: Sequence[int], patterns: int, tokens: float) -> list[Round]:
    """Return the work of all members in each generation.

    Parameters
    ----------
    recipe : updates, and repetitions, which do not apply to the untrained model
    sizes : sizes of the training sets; see `training_sets`
    patterns : number of patterns
    tokens : tokens that each member scores
    """
    trained = patterns * recipe.member.repetitions
    return [
        Round(trained, recipe.member.updates(size), tokens) if size else Round(patterns, None, tokens) for size in sizes
    ]


def estimate(speed: Speed, work: Work) -> dict[str, float]:
    """Return the seconds for ``members``, ``labeling``, ``student``, and ``total``.

    Each member is opened twice: for training and for scoring.

    Examples
    --------
    >>> speed = Speed(load=2.0, scored_tokens=100.0, member_update=0.5, student_update=0.25)
    >>> estimate(speed, Work([Round(members=3, updates=10, tokens=1000.0)], student_updates=40))
    {'members': 21.0, 'labeling': 36.0, 'student': 12.0, 'total': 69.0}
    """
    parts = {"members": 0.0, "labeling": 0.0, "student": 0.0}
    if speed.member_update is not None:
        for generation in work.rounds:
            if generation.updates is not None:
                parts["members"] += generation.members * (speed.load + generation.updates * speed.member_update)
            parts["labeling"] += generation.members * (speed.load + generation.tokens / speed.scored_tokens)
    if speed.student_update is not None:
        parts["student"] = speed.load + work.student_updates * speed.student_update
    return parts | {"total": sum(parts.values())}


def estimate_run(
    shared: Shared, tables: Mapping[str, Dataset], speed: Speed, sizes: Sequence[int], tokens: float
) -> dict[str, float]:
    """Time a few updates of a member and of the student, and estimate a run.

    The weights of the model are changed, so `shared` cannot be used afterwards.

    Parameters
    ----------
    shared : task, recipe, model, and device
    tables : ``train``, ``unlabeled``, or both
    speed : what was measured already
    sizes : training set size of each generation
    tokens : tokens that each member scores

    Returns
    -------
    dict
        See `estimate`.
    """
    # Without labeled texts, members learn from the pool alone. Which labels they learn does not affect the time.
    labels = len(shared.task.labels)
    train = evenly_spaced(tables["train" if "train" in tables else "unlabeled"], MAX_TIMED)
    gold = column_labels(train) if "train" in tables else np.arange(len(train)) % labels
    several = shared.task.multi_label
    if several:
        gold = gold_targets(gold, labels).astype(np.float32)
    pool = evenly_spaced(tables["unlabeled"], MAX_TIMED) if "unlabeled" in tables else None
    tokenize = shared.plan.tokenize
    data = ClozeData(tokenize(train), gold, None if pool is None else tokenize(pool), independent=several)
    speed = replace(
        speed,
        member_update=time_member(shared, data),
        student_update=None if pool is None else time_student(shared, pool),
    )
    recipe = shared.recipe
    found = estimate(speed, Work(all_rounds(shared, tables, sizes, tokens), recipe.student.steps))
    if "train" in tables and "test" not in tables:
        found |= _with_estimate(shared, tables, speed, found)
    return found


def all_rounds(shared: Shared, tables: Mapping[str, Dataset], sizes: Sequence[int], tokens: float) -> list[Round]:
    """Return the work of all generations, and that of labeling texts with untrained patterns.

    The first members are assumed to learn from such texts, unless that is turned off; see `pet.members.pattern_labels`.

    Parameters
    ----------
    shared, tables, sizes, tokens : see `estimate_run`
    """
    patterns, (pool, test) = len(shared.task.patterns), (len(tables.get(part, ())) for part in ("unlabeled", "test"))
    chosen = number_of_texts(shared, pool) if "train" in tables and not shared.task.multi_label else 0
    if not chosen:
        return rounds_of(shared.recipe, sizes, patterns, tokens)
    first = max(sizes[0], chosen) + chosen  # labeled texts are repeated until they are as many
    scored = patterns * tokens * chosen / shared.recipe.member.pattern_share / (pool + test)
    return [*rounds_of(shared.recipe, [first, *sizes[1:]], patterns, tokens), Round(1, None, scored)]


def _with_estimate(
    shared: Shared, tables: Mapping[str, Dataset], speed: Speed, found: Mapping[str, float]
) -> dict[str, float]:
    """Return the time of estimating the accuracy, and the new total.

    If a run does not do that by default, the time is under ``optional_estimate``, and the total stays.
    """
    recipe, texts, pool = shared.recipe, len(tables["train"]), len(tables.get("unlabeled", ()))
    size = size_of(recipe, len(shared.task.patterns), texts, pool)
    if texts < FEWEST or speed.member_update is None:
        return {}
    member, half = recipe.member, half_recipe(recipe).member
    plain = member.labeled_batch / (member.labeled_batch + (member.unlabeled_batch if pool else 0))
    tokens = float(shared.pvps[0].fill(shared.plan.tokenize(tables["train"])).ids.lengths.sum())
    each = 2 * speed.load + half.updates(texts // 2) * speed.member_update * plain + tokens / speed.scored_tokens
    seconds = (DRAWS + size.folds) * each
    if relative_cost(recipe, size) > MOST_COST:
        return {"optional_estimate": seconds}
    return {"estimate": seconds, "total": found["total"] + seconds}


def time_member(shared: Shared, data: ClozeData) -> float:
    """Return the seconds per update of a member with the first pattern. The model's weights are changed."""
    names = shared.pvps[0].names
    if names is not None:
        data = asked_data(data, names)
    lm, pvp = start_first_member(shared, data)
    recipe = shared.recipe.with_settings(steps=UPDATES + 1, min_epochs=0.0, learning_rate=_RATE)
    accelerator = shared.accelerator
    return mean_update(lambda note: train_member(lm, pvp, data, recipe, 0, accelerator, note), accelerator)


def start_first_member(shared: Shared, data: ClozeData) -> tuple[LanguageModel, PVP]:
    """Prepare the pretrained model for training with the first pattern."""
    lm, tuning = shared.models.untrained(), shared.recipe.tuning
    if tuning.method == "full":
        return lm, shared.pvps[0]
    backbone = Backbone(lm.model, shared.models.info.name, "")
    pvp = shared.tuned_pvps[0]
    return start_member(backbone, tuning, pvp, [data.labeled], 0, shared.accelerator.device), pvp


def time_student(shared: Shared, pool: Dataset) -> float:
    """Return the seconds per update of a student."""
    info, recipe = shared.models.info, shared.recipe
    labels = shared.task.labels
    classifier = new_classifier(
        info.name,
        shared.text_input,
        labels,
        recipe.encoding.max_length,
        allow_pickle=info.allow_pickle,
        independent=shared.task.multi_label,
    )
    targets = np.full((len(pool), len(labels)), 1 / len(labels))
    schedule = Schedule(UPDATES + 1, _RATE, accumulation=recipe.student.accumulation)
    how = Distillation(schedule, recipe.student.batch, recipe.student.temperature)
    accelerator = shared.accelerator
    return mean_update(
        lambda note: fit_classifier(classifier, pool, targets, how, accelerator, on_step=note), accelerator
    )


def mean_update(train: Callable[[Callable[..., None]], object], accelerator: Accelerator) -> float:
    """Return the mean seconds per update, without the first one.

    Parameters
    ----------
    train : runs `UPDATES` + 1 updates, and calls its argument after each
    accelerator : device and precision
    """
    times: list[float] = []

    def note(*_: object) -> None:
        if accelerator.device.type == "cuda":
            torch.cuda.synchronize(accelerator.device)
        times.append(time.perf_counter())

    train(note)
    return (times[-1] - times[0]) / (len(times) - 1)


def mean_tokens(lengths: Mapping[str, float], rows: Mapping[str, int]) -> float:
    """Return the number of tokens that a member scores.

    Parameters
    ----------
    lengths : table -> mean number of tokens per row
    rows : table -> number of rows

    Examples
    --------
    >>> mean_tokens({"train": 9.0, "unlabeled": 20.0, "test": 10.0}, {"train": 5, "unlabeled": 100, "test": 7})
    2070.0
    """
    return sum(lengths[name] * rows[name] for name in ("unlabeled", "test") if name in lengths)
