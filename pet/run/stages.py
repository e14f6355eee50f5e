"""The stages of a run: members, their scores, and soft labels. Each is complete or does not exist."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.cloze.tokens import join_rows
from pet.data.pick import pick_columns, pick_rows
from pet.ensemble.pseudo_labels import read_pseudo_labels
from pet.errors import PetError
from pet.members import untrained
from pet.members.kinds import KINDS, fit_scorer, make_scorer, open_scorer
from pet.members.pattern_labels import with_pattern_labels
from pet.members.seam import MemberData, Report, Scorer
from pet.members.spec import MemberSpec, pattern_spec
from pet.members.texts import Texts
from pet.run.context import PARTS, PRIMERS, RunContext
from pet.run.held_out import folds, held_out, learns_weights
from pet.run.pattern_labels import learns_pattern_labels, read_pattern_labels
from pet.seeds import derive_seed
from pet.store.folders import reserve
from pet.store.temporary import Scratch
from pet.student.distill import gold_targets

Array = NDArray[Any]


@dataclass(frozen=True)
class Member:
    """A member in one generation of a run.

    Attributes
    ----------
    spec : which member
    generation : from 0
    prefix : of its stages' names; a baseline has one
    """

    spec: MemberSpec
    generation: int = 0
    prefix: str = ""

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def stage(self) -> str:
        """Its place in the run directory."""
        return f"{self.prefix}g{self.generation}/{self.name}"

    @property
    def trains(self) -> bool:
        """True if it learns from labeled texts."""
        return KINDS[self.spec.kind].trains

    def seed(self, run_seed: int) -> int:
        """The seed of its training."""
        return derive_seed(run_seed, self.generation, *self.spec.seed_parts)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Member:
        """The inverse of `dataclasses.asdict`."""
        return cls(**{**values, "spec": MemberSpec.from_dict(values["spec"])})


def trained_members(context: RunContext, generation: int = 0) -> list[Member]:
    """Return all members of a trained generation."""
    return [Member(spec, generation) for spec in context.specs]


def untrained_members(context: RunContext, generation: int = 0, prefix: str = "") -> list[Member]:
    """Return the members that need no labeled texts: every pattern once, and those that do not learn."""
    patterns = [pattern_spec(untrained.KIND, number, 0) for number in range(len(context.task.patterns))]
    others = [spec for spec in context.specs if spec.pattern is None and not KINDS[spec.kind].trains]
    return [Member(spec, generation, prefix) for spec in (*patterns, *others)]


def members_of(context: RunContext, generation: int) -> list[Member]:
    """Return the members of a generation. Without labeled texts, the first one of iPET is not trained."""
    untrained_first = context.settings.method == "ipet" and not context.has("train")
    make = untrained_members if untrained_first and not generation else trained_members
    return make(context, generation)


# ---- members -----------------------------------------------------------------------------------


def member_data(context: RunContext, member: Member) -> MemberData:
    """Return what a member learns from: the labeled texts, and those that the others chose for it in its generation.

    It leaves out the labeled texts that measure how good it is; see `pet.run.held_out`.
    """
    pool = context.texts("pool") if context.has("pool") else None
    if not member.trains:
        known = [context.texts(part) for part in PARTS if context.has(part)]
        labeled = [context.texts("train")] if context.has("train") else []
        gold = labeled[0].labels if labeled else no_labels(context)
        return MemberData([(texts, np.arange(len(texts))) for texts in labeled], gold, pool, known)
    gold, parts = no_labels(context), []
    if context.has("train"):
        train = context.texts("train")
        rows = np.flatnonzero(~held_out(context, member.spec))
        gold = train.labels[rows]
        gold = gold.astype(np.float32) if gold.ndim == 2 else gold
        parts.append((train, rows))
    if member.generation == 0 and pool is not None and learns_pattern_labels(context, member.spec):
        return with_pattern_labels(MemberData(parts, gold, pool), *read_pattern_labels(context))
    if member.generation == 0 or pool is None or context.settings.method == "pcp":
        return MemberData(parts, gold, pool)
    examples = context.directory.path / f"g{member.generation}" / "examples" / f"{member.name}.parquet"
    chosen_rows, chosen, probabilities = read_pseudo_labels(examples, context.task.labels, len(pool))
    if not len(gold) + len(chosen_rows):
        raise PetError(
            f"generation {member.generation}: member {member.name} has nothing to learn from: no text of the pool is "
            "labeled with enough confidence, and empty texts do not count; lower --set confidence_floor, or give more "
            "texts with --unlabeled"
        )
    targets = np.concatenate([gold, chosen])
    # Without labeled texts, the first set is chosen against the bias of the untrained model. Its probabilities
    # would bring that bias back.
    if context.recipe.ipet.soft_targets and (member.generation > 1 or len(gold)):
        targets = np.concatenate([gold_targets(gold, len(context.task.labels)), probabilities]).astype(np.float32)
    return MemberData([*parts, (pool, chosen_rows)], targets, pool)


def no_labels(context: RunContext) -> Array:
    """Return the labels of no text at all."""
    if context.task.multi_label:
        return np.zeros((0, len(context.task.labels)), dtype=np.float32)
    return np.zeros(0, dtype=np.int64)


def fit_member(context: RunContext, member: Member, start: Path | None, folder: Path) -> Report:
    """Train a member and save it.

    Parameters
    ----------
    context, member : who learns
    start : folder of a trained member to go on from; None: from the beginning
    folder : an empty folder
    """
    data = member_data(context, member)
    scorer = make_scorer(member.spec, context.shared, member.seed(context.settings.seed), start)
    updates = KINDS[member.spec.kind].updates(context.shared, len(data.labels))
    if not updates:
        return fit_scorer(member.spec, scorer, data, folder)
    if not KINDS[member.spec.kind].reads_texts:
        # Now, so that the time left counts updates alone. Besides, datasets catches everything, Ctrl-C included, while
        # it hashes a selection of columns.
        for texts in [texts for texts, _ in data.parts] + ([] if data.pool is None else [data.pool]):
            texts.prepare()
    asks = KINDS[member.spec.kind].asks
    with context.reporter.task(
        f"{'ask' if asks else 'train'} {member.stage}", updates, "text" if asks else "step"
    ) as bar:
        return fit_scorer(member.spec, scorer, data, folder, lambda _, loss: bar.update(loss=loss))


def build_member(context: RunContext, member: Member, start: Path | None, folder: Path) -> dict[str, Any]:
    """Train a member for a stage; what the manifest notes of it."""
    report = fit_member(context, member, start, folder)
    return {"kind": member.spec.kind, "final_loss": report.final_loss, "trained": report.trained}


def build_scores(context: RunContext, member: Member, parts: Sequence[str], out: Path) -> None:
    """Score texts with a trained member: ``pool-logits.npy`` and so on in the folder `out`."""
    scorer = open_scorer(context.directory.path / member.stage, context.shared)
    for part in parts:
        texts = context.texts(part)
        file = out / f"{part}-logits.npy"
        shape = (len(texts), len(context.task.labels))
        scores = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)
        reserve(file)  # a full disk then ends with a message and not with a signal
        evidence = KINDS[member.spec.kind].evidence if part == "train" else ""
        if evidence == "refit":
            _refit(context, member, scores)
        elif evidence == "fold":
            _score_fold(context, member, scorer, scores)
        else:
            with context.reporter.task(f"score {part} with {member.stage}", len(texts), "text") as bar:
                scorer.scores(texts, scores, bar.update)
        scores.flush()


def _score_fold(context: RunContext, member: Member, scorer: Scorer, scores: Array) -> None:
    """Score the labeled texts that a member left out; the others get NaN."""
    rows = np.flatnonzero(held_out(context, member.spec))
    scores[:] = np.nan
    if not len(rows):
        return
    train = context.texts("train")
    # Workers have the text itself only if a member reads it.
    tokens = None if KINDS[member.spec.kind].reads_texts else join_rows([(train.tokens, rows)])
    texts = Texts(pick_rows(train.table, rows), lambda: context.shared.plan, tokens)
    own = np.empty((len(rows), scores.shape[1]), dtype=np.float32)
    with context.reporter.task(f"score train with {member.stage}", len(rows), "text") as bar:
        scorer.scores(texts, own, bar.update)
    scores[rows] = own


def _refit(context: RunContext, member: Member, scores: Array) -> None:
    """Score each fold of the labeled texts with a member that was fitted without it."""
    data, fold, train = member_data(context, member), folds(context), context.texts("train")
    scores[:] = np.nan
    for number in range(fold.max() + 1):
        kept = np.ones(len(data.labels), dtype=bool)
        kept[: len(fold)] = fold != number
        rows = np.flatnonzero(kept[: len(fold)])
        without = MemberData([(train, rows), *data.parts[1:]], data.labels[kept], data.pool)
        scorer = make_scorer(member.spec, context.shared, member.seed(context.settings.seed))
        with Scratch() as scratch:
            (scratch / "member").mkdir()
            fit_scorer(member.spec, scorer, without, scratch / "member")
        out = np.empty(scores.shape, dtype=np.float32)
        scorer.scores(train, out)
        scores[fold == number] = out[fold == number]


def member_scores(context: RunContext, members: Sequence[Member], part: str) -> list[Array]:
    """Memory-mapped scores of each member on a part, each of shape (rows, L)."""
    shape = (len(context.texts(part)), len(context.task.labels))
    return [read_scores(context.directory.path / m.stage / f"{part}-logits.npy", shape) for m in members]


def read_scores(path: Path, shape: tuple[int, int | None]) -> Array:
    """Memory-map an array of scores; a width of None stands for any.

    Raises
    ------
    PetError
        If the file does not hold numbers of this shape.
    """
    try:
        scores: Array = np.lib.format.open_memmap(path, mode="r")  # `np.load` would also open archives
    except (OSError, ValueError, EOFError, OverflowError, TypeError) as error:
        raise PetError(f"{path}: cannot be read ({error}); delete this folder to score the texts again") from error
    rows, width = shape
    if scores.ndim != 2 or len(scores) != rows or width not in (None, scores.shape[1]) or scores.dtype.kind != "f":
        raise PetError(
            f"{path}: contains {scores.dtype} numbers of shape {scores.shape}, not scores of shape {shape}; delete "
            "this folder to score the texts again"
        )
    return scores


def scored_parts(context: RunContext, member: Member, parts: Sequence[str]) -> list[str]:
    """Return the requested parts that a member scores and the run has, and the labeled texts as evidence."""
    evidence = KINDS[member.spec.kind].evidence
    judged = ["train"] if evidence == "given" or (evidence and learns_weights(context)) else []
    return [part for part in (*parts, *judged) if context.has(part)]


def keep_primers(context: RunContext) -> None:
    """Keep the labeled texts that stand before others, for texts that `pet label` sees later."""

    def build(folder: Path) -> None:
        columns = pick_columns(context.texts("train").table, [*context.task.fields, "label"])
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in columns]
        (folder / PRIMERS).write_text("".join(lines), encoding="utf-8")

    context.directory.stage("g0/primers", {"config": context.config_hash}, build, files=[PRIMERS])
