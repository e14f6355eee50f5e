"""Labeled texts as evidence: which of them each member leaves out of its training.

Weights that are learned need scores of labeled texts from members that did not train on them. Every member that takes
long to train leaves out one fold of the labeled texts, a different one than the other members. Together they score
every labeled text, and no time is spent on further training.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.data.folds import stratified_folds
from pet.ensemble.stacking import FEWEST_TEXTS
from pet.members.kinds import KINDS
from pet.members.spec import MemberSpec
from pet.run.context import RunContext

Array = NDArray[Any]
FEWEST_FOLDS = 5  # no member leaves out more than a fifth of the labeled texts


def learns_weights(context: RunContext) -> bool:
    """Return True if the run weights members by how well they predict labeled texts that they did not learn from."""
    learned = context.recipe.merging.merge == "learned" and context.settings.trains_members
    return learned and has_several_labels(context) and len(context.texts("train")) >= FEWEST_TEXTS


def has_several_labels(context: RunContext) -> bool:
    """Return True if the labeled texts differ in their labels; others say nothing about how good predictions are."""
    return context.has("train") and differ(context.texts("train").labels)


def differ(gold: Array) -> bool:
    """Return True if texts have different labels, shape (n,), or different sets of labels, shape (n, L)."""
    return bool((gold != gold[:1]).any())


def folds(context: RunContext) -> Array:
    """Return the fold of each labeled text; see `pet.data.folds.stratified_folds`."""
    return stratified_folds(context.texts("train").labels, fold_count(context), context.settings.seed)


def held_out(context: RunContext, spec: MemberSpec) -> Array:
    """Return which labeled texts a member leaves out: bool array of shape (rows,)."""
    if not learns_weights(context) or KINDS[spec.kind].evidence != "fold":
        return np.zeros(len(context.texts("train")), dtype=bool)
    return np.asarray(folds(context) == _folding(context).index(spec.name))


def _folding(context: RunContext) -> list[str]:
    """Return the names of the members that leave out a fold."""
    return [spec.name for spec in context.specs if KINDS[spec.kind].evidence == "fold"]


def fold_count(context: RunContext) -> int:
    """Return the number of folds of the labeled texts; a member leaves out one, or none."""
    return max(FEWEST_FOLDS, len(_folding(context)))
