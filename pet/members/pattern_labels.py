"""Texts of the pool that the untrained patterns label, and members learn from besides the labeled ones.

A few labeled texts teach their own accidents, too. Untrained patterns have not seen them, and the texts that they are
surest of are mostly labeled right. So members learn from both in equal parts, if the patterns know more about the
task than the labeled texts teach classifiers on embeddings and on words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pet.embeddings.logistic import cross_fit
from pet.ensemble.combine import prior_correction
from pet.ipet.ranked import SHRINKAGE, shrunk_shares
from pet.ipet.selection import apportion, chosen_rows
from pet.members import untrained
from pet.members.kinds import make_scorer
from pet.members.seam import Array, MemberData, OnRows, ignore
from pet.members.shared import Shared
from pet.members.spec import pattern_spec
from pet.members.texts import Texts
from pet.members.tfidf import own_features
from pet.numerics import softmax

SHARE = 0.4  # of the texts that patterns label, those that are used
MOST_LABELED = 256  # labeled texts that show how much the patterns know


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
    train : the labeled texts, which show what patterns prefer whatever the text, and how much they know
    texts : unlabeled texts, at least one
    most : number of texts to return
    on_rows : called with the number of texts that one more pattern has scored

    Returns
    -------
    rows : int64 array of shape (n,), ascending; none unless the patterns `know_more`
    labels : positions in the task's labels, int64, shape (n,)
    probabilities : float64, shape (n, L)
    """
    labels, nothing = len(shared.task.labels), np.zeros(0, dtype=np.int64)
    if not most:
        return nothing, nothing, np.zeros((0, labels))
    known, merged = _merged_scores(shared, train, texts, on_rows)
    views = [np.asarray(shared.vectors(train)), own_features(shared, train)]
    if not know_more(known, views, train.labels, shared.seed):
        return nothing, nothing, np.zeros((0, labels))
    label, probabilities = merged.argmax(axis=1), softmax(merged)
    predicted = np.bincount(label, minlength=labels) / len(label)
    wanted = apportion(most, shrunk_shares(np.bincount(train.labels, minlength=labels), predicted, SHRINKAGE))
    found = chosen_rows(label, -probabilities.max(axis=1), wanted, np.ones(len(texts), dtype=bool))
    return found.rows, found.labels, probabilities[found.rows]


def know_more(scores: Array, views: Sequence[Any], gold: Array, seed: int = 0) -> bool:
    """Return True if patterns label texts better than chance, and no worse than classifiers that see the others.

    They must be better than chance by a standard error: labels at chance cost more than good ones bring.

    Parameters
    ----------
    scores : of the untrained patterns for the labeled texts, shape (n, L)
    views : dense or sparse features of these texts, each of shape (n, D), that a classifier sees
    gold : their labels, int64, shape (n,)
    seed : random seed of the classifiers' folds

    Examples
    --------
    >>> gold, sides = np.array([0, 0, 0, 1, 1, 1]), np.array([[-1.0], [-1], [-1], [1], [1], [1]])
    >>> always_right = np.eye(2)[gold]
    >>> know_more(always_right, [sides], gold), know_more(1 - always_right, [np.zeros((6, 1))], gold)
    (True, False)
    """
    right, chance = scores.argmax(axis=1) == gold, 1 / scores.shape[1]
    if right.mean() < chance + math.sqrt(chance * (1 - chance) / len(right)):
        return False
    for view in views:
        predictions, _ = cross_fit(view, gold, scores.shape[1], seed)
        judged = ~np.isnan(predictions).any(axis=1)
        if (predictions[judged].argmax(axis=1) == gold[judged]).sum() > right[judged].sum():
            return False
    return True


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
