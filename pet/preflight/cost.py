"""How long a run will take: a few updates and some scored texts are timed, the rest is multiplication."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from accelerate import Accelerator
    from datasets import Dataset

    from pet.backbones.base import LanguageModel
    from pet.cloze.pvp import PVP
    from pet.ipet.plan import Plan
    from pet.members.training import ClozeData
    from pet.recipe import Recipe
    from pet.student.classifier import Classifier

UPDATES = 3  # that are timed, after a first one that is not
_RATE = 1e-6  # the weights are thrown away; small steps keep the loss a number


@dataclass(frozen=True)
class Speed:
    """What was measured, in seconds.

    Attributes
    ----------
    load : to open the model
    member_update : one update of a member; None where none can be trained
    scored_tokens : tokens that are scored in a second
    student_update : one update of the student; None where there is no pool
    """

    load: float
    member_update: float | None
    scored_tokens: float
    student_update: float | None


@dataclass(frozen=True)
class Round:
    """Members that are made side by side: an ensemble, or one generation of iPET.

    Attributes
    ----------
    members, updates : how many, and the updates of each; None where they stay untrained
    tokens : that each member scores
    """

    members: int
    updates: int | None
    tokens: float


@dataclass(frozen=True)
class Work:
    """What a run does.

    Attributes
    ----------
    rounds : one after another
    student_updates : of the student
    """

    rounds: Sequence[Round]
    student_updates: int


def training_sets(plan: Plan, pool: int) -> list[int]:
    """Texts that a member of each generation of iPET learns from; 0 for the untrained model.

    No generation ends the run early here, and no label runs out of texts before the pool does.

    Parameters
    ----------
    plan : see `pet.run.generations.make_plan`
    pool : unlabeled texts; no member gets more of them
    """
    labeled = int(plan.counts.sum())
    new = [min(int(plan.wanted(generation).sum()), pool) for generation in range(1, plan.last + 1)]
    return [labeled, *(labeled + count for count in new)]


def rounds_of(recipe: Recipe, sizes: Sequence[int], patterns: int, tokens: float) -> list[Round]:
    """The work of all members, generation by generation; PET has one.

    Parameters
    ----------
    recipe : for the updates, and for repetitions, which the untrained model has none of
    sizes : of the training sets, see `training_sets`
    patterns : of the task
    tokens : that each member scores
    """
    trained = patterns * recipe.member.repetitions
    return [
        Round(trained, recipe.member.updates(size), tokens) if size else Round(patterns, None, tokens) for size in sizes
    ]


def estimate(speed: Speed, work: Work) -> dict[str, float]:
    """Seconds of each part of a run, and of all: ``members``, ``labeling``, ``student``, ``total``.

    A member is opened to be trained, and once more to be scored with.
    """
    parts = {"members": 0.0, "labeling": 0.0, "student": 0.0}
    if speed.member_update is not None:
        for these in work.rounds:
            if these.updates is not None:
                parts["members"] += these.members * (speed.load + these.updates * speed.member_update)
            parts["labeling"] += these.members * (speed.load + these.tokens / speed.scored_tokens)
    if speed.student_update is not None:
        parts["student"] = speed.load + work.student_updates * speed.student_update
    return parts | {"total": sum(parts.values())}


def mean_update(train: Callable[[Callable[..., None]], object], accelerator: Accelerator) -> float:
    """Seconds of an update of a training that calls back after each, the first one apart.

    Parameters
    ----------
    train : starts `UPDATES` + 1 updates with the callback that it is given
    """
    moments: list[float] = []

    def note(*_: object) -> None:
        wait_for(accelerator)
        moments.append(time.perf_counter())

    train(note)
    return (moments[-1] - moments[0]) / (len(moments) - 1)


def wait_for(accelerator: Accelerator) -> None:
    """Wait until a GPU has done what it was told."""
    import torch

    if accelerator.device.type == "cuda":
        torch.cuda.synchronize(accelerator.device)


def time_member(
    lm: LanguageModel,
    pvp: PVP,
    data: ClozeData,
    recipe: Recipe,
    accelerator: Accelerator,
) -> float:
    """Seconds of an update of a member. The model's weights are changed."""
    from pet.members.training import train_member

    short = recipe.with_settings(steps=UPDATES + 1, min_epochs=0.0, learning_rate=_RATE)
    return mean_update(lambda note: train_member(lm, pvp, data, short, 0, accelerator, note), accelerator)


def time_student(classifier: Classifier, pool: Dataset, recipe: Recipe, accelerator: Accelerator) -> float:
    """Seconds of an update of a student. The model's weights are changed."""
    from pet.student.distill import Distillation, fit_classifier
    from pet.training.loop import Schedule

    labels = len(classifier.labels)
    targets = np.full((len(pool), labels), 1 / labels)
    schedule = Schedule(UPDATES + 1, _RATE, accumulation=recipe.student.accumulation)
    how = Distillation(schedule, recipe.student.batch, recipe.student.temperature)
    return mean_update(
        lambda note: fit_classifier(classifier, pool, targets, how, accelerator, on_step=note), accelerator
    )


def mean_tokens(lengths: Mapping[str, float], rows: Mapping[str, int]) -> float:
    """Tokens of the tables that a member scores, from the mean length and the number of their rows."""
    return sum(lengths[name] * rows[name] for name in ("unlabeled", "test") if name in lengths)
