"""Texts of the pool that the untrained patterns label for every second member.

A few labeled texts teach their own accidents, too. Untrained patterns have not seen them, and the texts that they are
surest of are mostly labeled right. So half of the members learn from both in equal parts, and the other half from the
labeled texts alone: the members differ in what they know, and their mistakes differ.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pet.ensemble.combine import prior_correction
from pet.ipet.ranked import SHRINKAGE, shrunk_shares
from pet.ipet.selection import apportion, chosen_rows
from pet.members import pattern, untrained
from pet.members.kinds import make_scorer
from pet.members.seam import Array, MemberData, OnRows, ignore
from pet.members.shared import Shared
from pet.members.spec import MemberSpec, pattern_spec
from pet.members.texts import Texts
from pet.numerics import softmax

SHARE = 0.4  # of the texts that patterns label, those that are used


def every_second(specs: Sequence[MemberSpec]) -> Sequence[MemberSpec]:
    """Return every second of the patterns that are trained."""
    return [spec for spec in specs if spec.kind == pattern.KIND][1::2]


def number_of_texts(shared: Shared, pool: int) -> int:
    """Return the number of texts that members learn from, of this many in the pool."""
    return min(shared.recipe.member.pattern_labels, int(SHARE * pool))


def with_pattern_labels(data: MemberData, rows: Array, labels: Array) -> MemberData:
    """Return what a member learns from: texts that untrained patterns label, and as many labeled ones.

    Parameters
    ----------
    data : the labeled texts, in one part, and the pool
    rows, labels : rows of the pool, and their labels as positions in the task's labels; int64, shape (n,)

    Returns
    -------
    MemberData in which the labeled texts are repeated until there are about n
    """
    if not len(rows) or data.pool is None:
        return data
    ((train, known),) = data.parts
    times = max(1, round(len(rows) / max(1, len(known))))
    targets = np.concatenate([np.tile(data.labels, times), labels])
    return MemberData([(train, np.tile(known, times)), (data.pool, rows)], targets, data.pool)


def surest_texts(
    shared: Shared, train: Texts, texts: Texts, most: int, on_rows: OnRows = ignore
) -> tuple[Array, Array, Array]:
    """Return the texts that untrained patterns label with the most confidence.

    The labels come in the ratio of the labeled texts, shrunk toward the predicted one.

    Parameters
    ----------
    shared : patterns and the pretrained model
    train : the labeled texts, which show what patterns prefer whatever the text, and whether they are any good
    texts : unlabeled texts, at least one
    most : number of texts to return
    on_rows : called with the number of texts that one more pattern has scored

    Returns
    -------
    rows : int64 array of shape (n,), ascending; none if the patterns are no better than chance
    labels : positions in the task's labels, int64, shape (n,)
    probabilities : float64, shape (n, L)
    """
    known, merged = _merged_scores(shared, train, texts, on_rows)
    labels = merged.shape[1]
    if not better_than_chance(known.argmax(axis=1) == train.labels, labels):
        most = 0
    label, probabilities = merged.argmax(axis=1), softmax(merged)
    predicted = np.bincount(label, minlength=labels) / len(label)
    wanted = apportion(most, shrunk_shares(np.bincount(train.labels, minlength=labels), predicted, SHRINKAGE))
    found = chosen_rows(label, -probabilities.max(axis=1), wanted, np.ones(len(texts), dtype=bool))
    return found.rows, found.labels, probabilities[found.rows]


def better_than_chance(right: Array, labels: int) -> bool:
    """Return True if more labels are right than by chance.

    A few labeled texts cannot prove it: patterns that are right about 60 of 100 texts with two labels help, and 10
    texts do not tell 60 from 50. So no more is asked.

    Parameters
    ----------
    right : bool array of shape (texts,)
    labels : number of labels

    Examples
    --------
    >>> better_than_chance(np.arange(10) < 6, 2), better_than_chance(np.arange(10) < 5, 2)
    (True, False)
    """
    return bool(right.mean() > 1 / labels)


def _merged_scores(shared: Shared, train: Texts, texts: Texts, on_rows: OnRows) -> tuple[Array, Array]:
    """Return the mean scores of the untrained patterns for the labeled texts and for others.

    Each pattern is corrected as in `pet.members.offset.text_offset`.
    """
    labels, patterns = len(shared.task.labels), len(shared.task.patterns)
    shares = np.bincount(train.labels, minlength=labels) + 1
    merged = np.zeros((len(train), labels)), np.zeros((len(texts), labels))
    for position in range(patterns):
        scorer = make_scorer(pattern_spec(untrained.KIND, position, 0), shared)
        known, scores = (np.empty(sums.shape, dtype=np.float32) for sums in merged)
        scorer.scores(train, known)
        scorer.scores(texts, scores, on_rows)
        offset = prior_correction(known, shares / shares.sum())
        for sums, own in zip(merged, (known, scores), strict=True):
            sums += (own + offset) / patterns
    return merged
