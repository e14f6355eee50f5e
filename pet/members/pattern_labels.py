"""Texts of the pool that the untrained patterns label, and members learn from besides the labeled ones.

A few labeled texts teach their own accidents, too. Untrained patterns have not seen them, and the texts that they are
surest of are mostly labeled right. So members learn from both in equal parts, if the patterns know about as much of the
task as the labeled texts teach classifiers on embeddings and on words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pet.embeddings.logistic import cross_fit
from pet.ensemble.calibration import best_scaled
from pet.ensemble.combine import prior_correction
from pet.ipet.ranked import SHRINKAGE, shrunk_shares
from pet.ipet.selection import apportion, chosen_rows
from pet.members import untrained
from pet.members.kinds import make_scorer
from pet.members.seam import Array, MemberData, OnRows, Scorer, ignore
from pet.members.shared import Shared
from pet.members.spec import pattern_spec
from pet.members.texts import Texts
from pet.members.tfidf import own_features
from pet.numerics import log_softmax, softmax

MOST_LABELED = 256  # labeled texts that show how much the patterns know
# Nats a text by which patterns must explain labels better than the label shares do, because labels that are hardly
# better than chance cost more than good ones bring. Within a nat of that, in all, a few labels cannot tell.
EVIDENCE_A_TEXT, DOUBT = 0.03, 1.0
AGREEMENT = 0.65  # mean correlation of two patterns. On sets that patterns know it was .71 to .88, on others .18 to .57
COMPARED = 100  # unlabeled texts on which patterns are compared
HALF = 0.5  # of the labeled texts; with fewer right ones, a single text of each label teaches members more
MORE, MORE_A_TEXT = 1.5, 0.1  # nats by which a classifier may explain labels better than patterns


def number_of_texts(shared: Shared, pool: int) -> int:
    """Return the number of texts that members learn from, of this many in the pool."""
    member = shared.recipe.member
    return min(member.pattern_labels, int(member.pattern_share * pool))


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


def patterns_that_know(
    shared: Shared, train: Texts, texts: Texts, on_rows: OnRows = ignore
) -> list[tuple[Scorer, Array]]:
    """Return the untrained patterns, and what corrects each for the labels that it prefers whatever the text.

    Parameters
    ----------
    shared : patterns and the pretrained model
    train : the labeled texts, which show what the patterns prefer and how much they know
    texts : unlabeled texts, on which the patterns are compared with one another if the labeled ones cannot tell
    on_rows : called with the number of labeled texts that one more pattern has scored

    Returns
    -------
    pairs of a scorer and what to add to its scores, float array of shape (L,); none unless the patterns `know_enough`
    """
    labels = len(shared.task.labels)
    shares = np.bincount(train.labels, minlength=labels) + 1
    specs = [pattern_spec(untrained.KIND, position, 0) for position in range(len(shared.task.patterns))]
    scorers = [make_scorer(spec, shared) for spec in specs]
    known = [_scores(scorer, train, labels, on_rows) for scorer in scorers]
    offsets = [prior_correction(scores, shares / shares.sum()) for scores in known]

    def agree() -> bool:
        return agreement(np.stack([_scores(scorer, texts, labels) for scorer in scorers])) >= AGREEMENT

    views = [np.asarray(shared.vectors(train)), own_features(shared, train)]
    enough = know_enough(_merged(known, offsets), views, train.labels, agree, shared.seed)
    return list(zip(scorers, offsets, strict=True)) if enough else []


def surest_texts(
    patterns: Sequence[tuple[Scorer, Array]], counts: Array, texts: Texts, most: int, on_rows: OnRows = ignore
) -> tuple[Array, Array, Array]:
    """Return the texts that untrained patterns label with the most confidence.

    The labels come in the ratio of the labeled texts, shrunk toward the predicted one.

    Parameters
    ----------
    patterns : as from `patterns_that_know`; at least one
    counts : number of labeled texts of each label, shape (L,)
    texts : unlabeled texts, at least one
    most : number of texts to return
    on_rows : called with the number of texts that one more pattern has scored

    Returns
    -------
    rows : int64 array of shape (n,), ascending
    labels : positions in the task's labels, int64, shape (n,)
    probabilities : float64, shape (n, L)
    """
    scores = [_scores(scorer, texts, len(counts), on_rows) for scorer, _ in patterns]
    merged = _merged(scores, [offset for _, offset in patterns])
    label, probabilities = merged.argmax(axis=1), softmax(merged)
    predicted = np.bincount(label, minlength=len(counts)) / len(label)
    wanted = apportion(most, shrunk_shares(counts, predicted, SHRINKAGE))
    found = chosen_rows(label, -probabilities.max(axis=1), wanted, np.ones(len(texts), dtype=bool))
    return found.rows, found.labels, probabilities[found.rows]


def agreement(scores: Array) -> float:
    """Return how much patterns agree about texts, whatever label each of them prefers.

    Patterns ask the same question in different words. If their answers depend on the words more than on the text, they
    do not know the task.

    Parameters
    ----------
    scores : of each pattern, shape (P, n, L)

    Returns
    -------
    The mean correlation of two patterns, over texts and labels; 0 with one pattern

    Examples
    --------
    >>> one = np.array([[2.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    >>> round(agreement(np.stack([one, one - [5, 0]])), 3), round(agreement(np.stack([one, one[::-1]])), 3)
    (1.0, -0.5)
    """
    relative = scores - scores.mean(axis=2, keepdims=True)
    varied = (relative - relative.mean(axis=1, keepdims=True)).reshape(len(scores), -1).astype(np.float64)
    varied /= np.maximum(np.linalg.norm(varied, axis=1, keepdims=True), 1e-12)
    pairs = (varied @ varied.T)[np.triu_indices(len(scores), k=1)]
    return float(pairs.mean()) if len(pairs) else 0.0


def know_enough(scores: Array, views: Sequence[Any], gold: Array, agree: Callable[[], bool], seed: int = 0) -> bool:
    """Return True if patterns explain the labels of texts better than chance, and about as well as classifiers.

    Log-likelihoods decide, because they are less noisy than the number of right labels: with 32 texts, that number has
    a standard error of nine points. Where they leave it open, the patterns must agree with one another. If every label
    has a single text, no classifier can be judged, and half of the texts must be labeled right instead.

    Parameters
    ----------
    scores : of the untrained patterns for the labeled texts, shape (n, L)
    views : dense or sparse features of these texts, each of shape (n, D). A classifier on them predicts each text after
        learning from others
    gold : their labels, int64, shape (n,)
    agree : returns True if the patterns agree on unlabeled texts; called only if the labels leave it open
    seed : random seed of the classifiers' folds

    Examples
    --------
    >>> gold, sides = np.array([0, 0, 0, 1, 1, 1]), np.array([[-1.0], [-1], [-1], [1], [1], [1]])
    >>> right = 5.0 * np.eye(2)[gold]
    >>> know_enough(right, [sides], gold, lambda: False), know_enough(-right, [sides], gold, lambda: False)
    (True, False)
    """
    shares = np.bincount(gold, minlength=scores.shape[1]) + 1
    own, chance = _likelihood(scores, gold), np.log(shares / shares.sum())[gold]
    more = (own - chance).sum() - EVIDENCE_A_TEXT * len(gold)
    if more < -DOUBT or (more < DOUBT and not agree()):
        return False
    compared = False
    for view in views:
        predicted, _ = cross_fit(view, gold, scores.shape[1], seed)
        judged = ~np.isnan(predicted).any(axis=1)
        if not judged.any():
            continue
        compared = True
        more = _likelihood(predicted[judged], gold[judged]) - own[judged]
        if more.sum() > max(MORE, MORE_A_TEXT * len(more)):
            return False
    return compared or bool((scores.argmax(axis=1) == gold).mean() >= HALF)


def _likelihood(scores: Array, gold: Array) -> Array:
    return best_scaled(lambda factor: log_softmax(factor * scores)[np.arange(len(gold)), gold])


def _scores(scorer: Scorer, texts: Texts, labels: int, on_rows: OnRows = ignore) -> Array:
    out = np.empty((len(texts), labels), dtype=np.float32)
    scorer.scores(texts, out, on_rows)
    return out


def _merged(scores: Sequence[Array], offsets: Sequence[Array]) -> Array:
    """Return the mean over patterns, each corrected as in `pet.members.offset.text_offset`."""
    return np.mean([own + offset for own, offset in zip(scores, offsets, strict=True)], axis=0)
