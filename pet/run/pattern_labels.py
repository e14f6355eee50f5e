"""The stage ``g0/examples``: texts of the pool that the untrained patterns label for members."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pet.data.checks import text_key
from pet.data.pick import pick_rows
from pet.ensemble.pseudo_labels import read_pseudo_labels, write_pseudo_labels
from pet.members import pattern
from pet.members.pattern_labels import (
    COMPARED,
    MOST_LABELED,
    number_of_texts,
    patterns_that_know,
    surest_texts,
)
from pet.members.spec import MemberSpec
from pet.members.texts import Texts
from pet.progress import Progress
from pet.run.context import RunContext

Array = NDArray[Any]
STAGE = "g0/examples"
FILE = "texts.parquet"


def eligible_rows(context: RunContext) -> Array:
    """Return which rows of the pool can become examples: not empty, and the first row with their text."""
    keys = context.data.keys["pool"]
    eligible = np.zeros(len(keys), dtype=bool)
    eligible[np.unique(keys, return_index=True)[1]] = True
    return np.asarray(eligible & (keys != np.uint64(text_key([""] * len(context.task.fields)))))


def learns_pattern_labels(context: RunContext, spec: MemberSpec) -> bool:
    """Return True if a member of the first generation learns from texts that untrained patterns label."""
    if not context.has("train") or not context.has("pool") or context.task.multi_label:
        return False
    return spec.kind == pattern.KIND and number_of_texts(context.shared, len(context.texts("pool"))) > 0


def pattern_labels_missing(context: RunContext) -> bool:
    """Return True if a member learns from such texts, and they are not chosen yet."""
    return _wanted(context) and not context.directory.has(STAGE, {"config": context.config_hash})


def label_with_patterns(context: RunContext, make: Callable[[Path], dict[str, Any]] | None = None) -> None:
    """Choose the texts and keep them in a stage, if a member learns from any.

    Parameters
    ----------
    context : the run
    make : writes the stage in another way; default: label texts with the untrained patterns
    """
    if _wanted(context):
        context.directory.stage(STAGE, {"config": context.config_hash}, make or partial(_choose, context))


def read_pattern_labels(context: RunContext) -> tuple[Array, Array]:
    """Return the rows of the pool that untrained patterns label, and their labels: int64 arrays of shape (n,).

    There are none if these patterns know too little; see `pet.members.pattern_labels.know_enough`.

    Raises
    ------
    PetError
        If the file is damaged, or names rows or labels that the run does not have. It may come from another run.
    """
    path, pool = context.directory.path / STAGE / FILE, len(context.texts("pool"))
    cure = "start the run in a new folder, without --from"
    rows, labels, _ = read_pseudo_labels(path, context.task.labels, pool, cure)
    return rows, labels


def share_pattern_labels(context: RunContext) -> bool:
    """Return True if the members of the first generation have learned from such texts, which are the same for all."""
    return _wanted(context) and len(read_pattern_labels(context)[0]) > 0


def _wanted(context: RunContext) -> bool:
    return any(learns_pattern_labels(context, spec) for spec in context.specs)


def _choose(context: RunContext, folder: Path) -> dict[str, Any]:
    """Write the surest of some evenly spaced texts of the pool; return what the stage notes."""
    pool, allowed, labels = context.texts("pool"), np.flatnonzero(eligible_rows(context)), context.task.labels
    most = number_of_texts(context.shared, len(allowed))
    rows = allowed[_spaced(len(allowed), round(most / context.recipe.member.pattern_share))]
    chosen, label, probabilities = _surest(context, rows, most)
    context.shared.models.forget()  # members may be trained in other processes
    write_pseudo_labels(folder / FILE, rows[chosen], label, pa.array(pool.ids, pa.string()), probabilities, labels)
    return {"texts": len(chosen)}


def _surest(context: RunContext, rows: Array, most: int) -> tuple[Array, Array, Array]:
    """Return positions in these rows of the pool, labels and probabilities; none if the patterns know too little."""
    labels, train = len(context.task.labels), context.texts("train")
    nothing = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros((0, labels))
    if not most:
        return nothing
    train = _texts(context, "train", _spaced(len(train), MOST_LABELED))
    with _task(context, "test untrained patterns", len(train)) as bar:
        compared = _texts(context, "pool", rows[_spaced(len(rows), COMPARED)])
        patterns = patterns_that_know(context.shared, train, compared, bar.update)
    if not patterns:
        context.reporter.info("members learn from labeled texts only: untrained patterns know less than these teach")
        return nothing
    texts = _texts(context, "pool", rows)
    with _task(context, "label texts with untrained patterns", len(texts)) as bar:
        return surest_texts(patterns, np.bincount(train.labels, minlength=labels), texts, most, bar.update)


def _spaced(rows: int, most: int) -> Array:
    """Return so many evenly spaced row numbers, or all."""
    return np.linspace(0, rows - 1, min(rows, most)).astype(np.int64)


def _task(context: RunContext, name: str, texts: int) -> Progress:
    return context.reporter.task(name, texts * len(context.task.patterns), "score")


def _texts(context: RunContext, part: str, rows: Array) -> Texts:
    return Texts(pick_rows(context.texts(part).table, rows), lambda: context.shared.plan)
