"""The stages of a run, each finished or not there: members, soft labels, student, and their figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from pet.backbones.base import LanguageModel
from pet.cloze.tokens import TokenTable, join_rows
from pet.compat import save_model
from pet.data.checks import column_labels
from pet.data.lazy_column import LazyColumn
from pet.ensemble.combine import member_weights, merge_scores, prior_correction
from pet.ensemble.pseudo_labels import read_pseudo_labels
from pet.ensemble.soft_labels import read_probabilities, write_soft_labels
from pet.errors import PetError
from pet.evaluate import evaluate
from pet.members.scoring import score_rows
from pet.members.training import MemberData, train_member
from pet.numerics import softmax
from pet.run.context import RunContext
from pet.seeds import derive_seed
from pet.store.files import reserve
from pet.student.classifier import new_classifier
from pet.student.distill import fit_classifier, one_hot
from pet.training.loop import Schedule
from pet.tuning.freeze import freeze
from pet.tuning.members import Backbone, attach, read_member, save_member, start_member

if TYPE_CHECKING:
    from datasets import Dataset

Array = NDArray[Any]
PRIMERS = "primers.jsonl"  # labeled texts, each label by its position in the task
_PRIOR_ROWS = 20_000  # rows of the pool that are enough to see the mean prediction


@dataclass(frozen=True)
class Member:
    """One place in the ensemble: a generation, a pattern and a repetition, counted from 0."""

    generation: int
    pattern: int
    repetition: int

    @property
    def name(self) -> str:
        return f"p{self.pattern}-r{self.repetition}"

    @property
    def stage(self) -> str:
        return f"g{self.generation}/{self.name}"

    def seed(self, run_seed: int) -> int:
        return derive_seed(run_seed, self.generation, self.pattern, self.repetition)


def ensemble_members(context: RunContext, generation: int = 0) -> list[Member]:
    """All members of a generation: pattern × repetition."""
    return [
        Member(generation, p, r) for p in range(len(context.pvps)) for r in range(context.recipe.member.repetitions)
    ]


def measure_untrained(context: RunContext) -> list[float]:
    """Accuracy of each pattern on the labeled examples before any training: the weights of its members."""

    def build(folder: Path) -> dict[str, Any]:
        assert context.data.train is not None
        labels = column_labels(context.data.train)
        lm, accuracies = context.pretrained(), []
        for pvp in context.pvps:
            scores = score_rows(
                lm,
                context.tokenizer,
                pvp,
                context.tokens("train"),
                context.accelerator,
                max_tokens=context.recipe.inference.tokens,
            )
            accuracies.append(float((scores.argmax(axis=1) == labels).mean()))
        (folder / "untrained.json").write_text(json.dumps({"accuracy": accuracies}) + "\n")
        return {"accuracy": accuracies}

    context.directory.stage("g0/untrained", {"config": context.config_hash}, build, files=["untrained.json"])
    accuracies: list[float] = context.directory.info("g0/untrained")["accuracy"]
    return accuracies


def keep_primers(context: RunContext) -> None:
    """Keep the labeled texts that stand before others, for those that `pet label` sees later."""

    def build(folder: Path) -> None:
        assert context.data.train is not None
        columns = context.data.train.select_columns([*context.task.fields, "label"])
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in columns]
        (folder / PRIMERS).write_text("".join(lines), encoding="utf-8")

    context.directory.stage("g0/primers", {"config": context.config_hash}, build, files=[PRIMERS])


def member_data(context: RunContext, member: Member) -> MemberData:
    """What a member learns from: the labeled texts, and those that the others chose for it in its generation."""
    train, recipe, labels = context.data.train, context.recipe, context.task.labels
    gold = np.zeros(0, dtype=np.int64) if train is None else column_labels(train)
    pool = None if context.data.pool is None else context.tokens("pool")
    if member.generation == 0:
        return MemberData(context.tokens("train"), gold, pool)
    assert pool is not None
    rows, chosen, probabilities = read_pseudo_labels(
        context.directory.path / f"g{member.generation}" / "examples" / f"{member.name}.parquet", labels
    )
    if not len(gold) + len(rows):
        raise PetError(
            f"generation {member.generation}: member {member.name} has nothing to learn from: no text of the pool "
            "is labeled surely enough; lower --set confidence_floor, or give more texts with --unlabeled"
        )
    parts: list[tuple[TokenTable, Array]] = [] if train is None else [(context.tokens("train"), np.arange(len(gold)))]
    targets = np.concatenate([gold, chosen])
    # The first set without labeled texts is chosen against the bias of the untrained model, which its
    # probabilities would bring back.
    if recipe.ipet.soft_targets and (member.generation > 1 or len(gold)):
        targets = np.concatenate([one_hot(gold, len(labels)), probabilities]).astype(np.float32)
    return MemberData(join_rows([*parts, (pool, rows)]), targets, pool)


def fit_member(
    context: RunContext, member: Member, start: Path | None
) -> tuple[LanguageModel, Backbone | None, dict[str, Any]]:
    """Train a member: its model, what it was put onto where that is shared, and what there is to tell.

    Parameters
    ----------
    context, member : who learns
    start : folder of a trained member to go on from; None: the pretrained model, with `context.initial` if set
    """
    recipe, pvp, seed = context.recipe, context.tuned_pvps[member.pattern], member.seed(context.settings.seed)
    data, backbone = member_data(context, member), None
    if recipe.tuning.method == "full":
        lm = context.model_of(start)
        freeze(lm.model, recipe.tuning.freeze_layers)
    else:
        backbone = context.backbone(start)
        tables = [table for table in (data.labeled, data.unlabeled) if table is not None]
        before = context.initial if start is None else read_member(start)
        lm = start_member(backbone, recipe.tuning, pvp, tables, seed, context.accelerator.device, before)
    trained = sum(parameter.numel() for parameter in lm.parameters() if parameter.requires_grad)
    with context.reporter.task(f"train {member.stage}", recipe.member.updates(len(data.labels))) as bar:
        losses = train_member(
            lm, context.tokenizer, pvp, data, recipe, recipe.member.learning_rate, seed,
            context.accelerator, lambda _, loss: bar.update(loss=loss), context.group,
        )  # fmt: skip
    return lm, backbone, {"losses": losses, "labeled": len(data.labels), "trained": trained}


def build_member(context: RunContext, member: Member, start: Path | None, folder: Path) -> dict[str, Any]:
    """Train a member and save it: a ``save_pretrained`` folder, or the few numbers that it has learned.

    `folder` is where it is saved; the others are those of `fit_member`.
    """
    lm, backbone, figures = fit_member(context, member, start)
    losses = figures["losses"]
    if backbone is not None:
        save_member(backbone, context.recipe.tuning, folder)
    if context.recipe.tuning.trains_backbone:
        save_model(lm.model, folder)
        context.tokenizer.save_pretrained(folder)
    pattern = context.task.patterns[member.pattern]
    about = {
        "pattern": pattern.template.source,
        "verbalizer": {label: list(words) for label, words in pattern.verbalizer.words.items()},
        "losses": losses,
        "labeled": figures["labeled"],
    }
    (folder / "member.json").write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return {"final_loss": losses[-1] if losses else None, "trained": figures["trained"]}


def build_scores(
    context: RunContext, member: Member, trained: Path | None, prefix: str, parts: Sequence[str], out: Path
) -> None:
    """Score texts with a member: ``pool-logits.npy`` and ``test-logits.npy`` in the folder `out`.

    Parameters
    ----------
    context, member : who scores
    trained : the member's folder; None scores with the pretrained model
    prefix : of the stage, for the one who waits
    parts : ``pool``, ``test``
    out : where the files go
    """
    lm = _trained(context, trained)
    pvp = (context.pvps if trained is None else context.tuned_pvps)[member.pattern]
    for part in parts:
        rows = len(getattr(context.data, part))
        file = out / f"{part}-logits.npy"
        scores = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(rows, len(context.task.labels)))
        reserve(file)  # a full disk then ends with a message, and not with a signal
        with context.reporter.task(f"score {part} with {prefix}{member.stage}", rows, "text") as bar:
            score_rows(
                lm, context.tokenizer, pvp, context.tokens(part), context.accelerator,
                max_tokens=context.recipe.inference.tokens, out=scores, on_rows=bar.update,
            )  # fmt: skip
        scores.flush()


def _trained(context: RunContext, folder: Path | None) -> LanguageModel:
    """A trained member, or for None the pretrained model."""
    if folder is None:
        return context.untrained()
    if context.recipe.tuning.method == "full":
        return context.model_of(folder)
    return attach(context.backbone(folder), read_member(folder), folder)


def member_scores(context: RunContext, members: Sequence[Member], part: str, prefix: str = "") -> dict[str, Array]:
    """Memory-mapped scores of each member on ``pool`` or ``test``: member -> (rows, L)."""
    return {
        m.name: np.load(context.directory.path / prefix / m.stage / f"{part}-logits.npy", mmap_mode="r")
        for m in members
    }


def label_pool(context: RunContext, members: Sequence[Member], weights: Array, prefix: str = "") -> None:
    """Merge the members' scores of the pool into the table of soft labels."""
    generation = members[0].generation
    pool = context.data.pool
    assert pool is not None

    def build(folder: Path) -> dict[str, Any]:
        scores = member_scores(context, members, "pool", prefix)
        paths = [folder / "labels.parquet", folder / "labels.jsonl"]
        bias = _prior_bias(context, scores, weights)
        write_soft_labels(paths, LazyColumn(pool, "id"), scores, weights, context.task.labels, bias)
        return {"members": list(scores), "weights": [float(w) for w in weights], "bias": [float(b) for b in bias]}

    upstream = [context.directory.fingerprint(f"{prefix}{m.stage}/scores") for m in members]
    name = f"{prefix}g{generation}/labels"
    inputs = {"config": context.config_hash, "scores": upstream, "weights": [float(w) for w in weights]}
    context.directory.stage(name, inputs, build, files=["labels.parquet", "labels.jsonl"])


def _prior_bias(context: RunContext, scores: Mapping[str, Array], weights: Array) -> Array:
    """The correction that the recipe asks for, from evenly spaced rows of the pool; zeros for none."""
    count = len(context.task.labels)
    target = np.full(count, 1 / count)
    if context.recipe.merging.prior == "labeled" and context.data.train is not None:
        # One more of each, so that a label without an example is rare and not impossible.
        counts = np.bincount(column_labels(context.data.train), minlength=count) + 1.0
        target = counts / counts.sum()
    if context.recipe.merging.prior == "none":
        return np.zeros(count)
    rows = slice(None, None, max(1, len(next(iter(scores.values()))) // _PRIOR_ROWS))
    return prior_correction(merge_scores([s[rows] for s in scores.values()], weights), target)


def pool_bias(context: RunContext, generation: int = 0, prefix: str = "") -> Array:
    """The correction that the soft labels of a generation were made with; zeros where there is no pool."""
    if context.data.pool is None or context.recipe.merging.prior == "none":
        return np.zeros(len(context.task.labels))
    return np.asarray(context.directory.info(f"{prefix}g{generation}/labels")["bias"])


def _fit(context: RunContext, kind: str, table: Dataset, targets: Array, folder: Path, label: str) -> dict[str, Any]:
    """Train a classifier from fresh, ``student`` or ``supervised``, and save it with its test scores."""
    seed = derive_seed(context.settings.seed, kind)
    torch.manual_seed(derive_seed(seed, "head"))
    name = context.settings.student_model or context.settings.model
    classifier = new_classifier(
        name,
        context.text_input,
        context.task.labels,
        context.recipe.encoding.max_length,
        allow_pickle=context.settings.allow_pickle,
    )
    recipe = context.recipe
    settings = recipe.student if kind == "student" else recipe.supervised
    schedule = Schedule.of(recipe.optimizer, settings, recipe.student.learning_rate)
    gold = None
    if kind == "student" and context.data.train is not None:
        gold = (context.data.train, column_labels(context.data.train))
    with context.reporter.task(f"train {label}", schedule.steps) as bar:
        losses = fit_classifier(
            classifier, table, targets, schedule, context.accelerator,
            seed=seed,
            batch_size=settings.batch,
            temperature=context.recipe.student.temperature if kind == "student" else None,
            gold=gold,
            gold_weight=context.recipe.student.gold_weight if kind == "student" else 0.0,
            on_step=lambda _, loss: bar.update(loss=loss),
        )  # fmt: skip
    classifier.save(folder)
    if context.data.test is not None:
        with context.reporter.task(f"score test with {label}", len(context.data.test), "text") as bar:
            scores = classifier.scores(
                context.data.test,
                context.accelerator,
                max_tokens=context.recipe.inference.tokens,
                exact=True,  # the figures are those of `pet evaluate`
                on_rows=bar.update,
            )
        np.save(folder / "test-logits.npy", scores)
    return {"losses": losses}


def make_student(context: RunContext, generation: int = 0, prefix: str = "") -> str:
    """Distill a generation's soft labels of the pool into a classifier in ``student/``."""
    labels_stage = f"g{generation}/labels"
    labels_file = context.directory.path / f"{labels_stage}.parquet"

    def build(folder: Path) -> dict[str, Any]:
        assert context.data.pool is not None
        targets = read_probabilities(labels_file)
        losses = _fit(context, "student", context.data.pool, targets, folder, f"{prefix}student")
        return losses | {"generation": generation}

    inputs = {"config": context.config_hash, "labels": context.directory.fingerprint(labels_stage)}
    context.directory.stage(f"{prefix}student", inputs, build)
    return f"{prefix}student"


def make_supervised(context: RunContext, prefix: str = "") -> str:
    """Train a plain classifier on the labeled examples alone."""

    def build(folder: Path) -> dict[str, Any]:
        assert context.data.train is not None
        targets = one_hot(column_labels(context.data.train), len(context.task.labels))
        return _fit(context, "supervised", context.data.train, targets, folder, f"{prefix}supervised")

    context.directory.stage(f"{prefix}student", {"config": context.config_hash}, build)
    return f"{prefix}student"


def measure_ensemble(
    context: RunContext, members: Sequence[Member], weights: Array, prefix: str = ""
) -> dict[str, Any]:
    """Figures of each member and of the merged ensemble on the test texts."""
    if context.data.test is None:
        return {}
    gold = column_labels(context.data.test)
    scores = member_scores(context, members, "test", prefix)
    figures = {name: evaluate(softmax(s), gold, context.task.labels) for name, s in scores.items()}
    merged = softmax(merge_scores(list(scores.values()), weights) + pool_bias(context, members[0].generation, prefix))
    return {"members": figures, "ensemble": evaluate(merged, gold, context.task.labels)}


def measure_classifier(context: RunContext, stage: str) -> dict[str, Any]:
    """Figures of a saved classifier on the test texts."""
    if context.data.test is None:
        return {}
    scores = np.load(context.directory.path / stage / "test-logits.npy")
    return evaluate(softmax(scores), column_labels(context.data.test), context.task.labels)


def ensemble_weights(context: RunContext, accuracies: Sequence[float] | None, members: Sequence[Member]) -> Array:
    """Weights of the members by the accuracy of their patterns before training."""
    per_member = None if accuracies is None else [accuracies[m.pattern] for m in members]
    if per_member is not None and context.recipe.merging.merge == "weighted" and not any(per_member):
        context.reporter.warn("no pattern labels a training example right before training: all members weigh the same")
    return member_weights(per_member, len(members), context.recipe.merging.merge)
