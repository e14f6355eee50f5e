"""Selection of pseudo-labeled texts by rank, and what the neighbors of a text say about its label. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.ipet.selection import Chosen, chosen_rows

Array = NDArray[Any]
REFERENCES = 20_000  # texts that neighbors are taken from; of larger pools, evenly spaced rows
SHRINKAGE = 20.0  # labeled texts that the predicted class ratio counts like
SHARPNESS = 2.0  # of draws by rank
DIGITS = 5  # of figures that texts are sorted by; the last digits of linear algebra differ between processes
_ROWS = 512  # rows compared at a time


# ---- quota -------------------------------------------------------------------------------------


def shrunk_shares(counts: Array, predicted: Array, strength: float) -> Array:
    """Return the assumed class ratio of the pool: that of the labeled texts, shrunk toward the predicted one.

    Few labeled texts are weak evidence of the ratio, and often balanced on purpose; predictions for the pool are
    biased. So the predicted shares count like `strength` labeled texts. Without labeled texts, the predicted shares
    are shrunk halfway toward equal shares.

    Parameters
    ----------
    counts : number of labeled texts per label, shape (L,)
    predicted : share of each label among the predictions for the pool, shape (L,), with sum 1
    strength : above 0

    Returns
    -------
    float64 array of shape (L,) with sum 1

    Examples
    --------
    >>> shrunk_shares(np.array([10, 10]), np.array([0.8, 0.2]), 20.0).tolist()
    [0.65, 0.35]
    >>> shrunk_shares(np.array([0, 0]), np.array([0.8, 0.2]), 20.0).tolist()
    [0.65, 0.35]
    """
    counts = np.asarray(counts, dtype=np.float64)
    if not counts.any():
        counts = np.full(len(counts), strength / len(counts))
    return np.asarray((counts + strength * predicted) / (counts.sum() + strength))


# ---- ranks -------------------------------------------------------------------------------------


def rank_within(label: Array, scores: Sequence[Array], weights: Sequence[float]) -> Array:
    """Rank each text among those with the same label, by the weighted mean of its ranks in several scores.

    Ranks make scores of different kinds comparable.

    Parameters
    ----------
    label : int array of shape (rows,)
    scores : arrays of shape (rows,); higher is better
    weights : one per score

    Returns
    -------
    int64 array of shape (rows,): 0 for the best text of a label; ties go to the earlier row

    Examples
    --------
    >>> rank_within(np.array([0, 0, 1, 0]), [np.array([0.9, 0.5, 0.7, 0.8])], [1.0]).tolist()
    [0, 2, 0, 1]
    """
    rank = np.zeros(len(label), dtype=np.int64)
    for number in np.unique(label):
        rows = np.flatnonzero(label == number)
        mean = sum(weight * _ranks(-score[rows]) for score, weight in zip(scores, weights, strict=True))
        rank[rows] = _ranks(np.asarray(mean))
    return rank


def _ranks(values: Array) -> Array:
    """Return the position of each value in ascending order."""
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks


def draw_ranked(label: Array, rank: Array, wanted: Array, eligible: Array, generator: np.random.Generator) -> Chosen:
    """Draw texts of each predicted label without replacement, the more often the better their rank.

    Of n texts wanted for a label, the text of rank r has the weight ``exp(-2 r / n)``. So nearly all draws are among
    the 2 n best, and not only the texts that every member is certain of are drawn. For the method see `draw_confident`.

    Parameters
    ----------
    label : predicted label of each row of the pool
    rank : rank of each row within its label, from 0
    wanted : number of texts to draw per label, shape (L,); if fewer have this prediction, all of them are drawn
    eligible : bool array, False for rows that must not be drawn
    generator : random generator; draws one number per row of the pool
    """
    scale = np.maximum(np.asarray(wanted, dtype=np.float64), 1.0)[label]
    # The logarithm of the key of `draw_confident`, which does not overflow.
    keys = np.log(np.maximum(generator.standard_exponential(len(label)), 1e-300)) + SHARPNESS * rank / scale
    return chosen_rows(label, keys, wanted, eligible)


def kappa(one: Array, other: Array, labels: int) -> float:
    """Return the agreement of two labelings beyond chance (Cohen 1960): 0 is chance, 1 is perfect, 0 if undefined.

    Examples
    --------
    >>> kappa(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), 2)
    0.5
    """
    shares = [np.bincount(label, minlength=labels) / len(label) for label in (one, other)]
    chance = float(shares[0] @ shares[1])
    return (float((one == other).mean()) - chance) / (1 - chance) if chance < 1 else 0.0


# ---- neighbors ---------------------------------------------------------------------------------


def nearest(vectors: Array, count: int) -> tuple[Array, Array]:
    """Return the nearest neighbors of each text.

    Parameters
    ----------
    vectors : shape (rows, D), each of length 1
    count : number of neighbors; fewer if there are not so many texts

    Returns
    -------
    rows : int64 array of shape (rows, neighbors), nearest first; never the text itself
    weights : float64 array of shape (rows, neighbors): ``1 / (1 + distance)``

    Examples
    --------
    >>> rows, weights = nearest(np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]), 1)
    >>> rows.ravel().tolist(), weights.round(2).ravel().tolist()
    ([2, 2, 1], [0.53, 0.61, 0.61])
    """
    total = len(vectors)
    references = np.unique(np.linspace(0, total - 1, min(total, REFERENCES)).astype(np.int64))
    others = np.asarray(vectors[references], dtype=np.float32)
    count = min(count, len(references) - 1)
    if count < 1:
        return np.empty((total, 0), dtype=np.int64), np.empty((total, 0))
    found, weights = np.empty((total, count), dtype=np.int64), np.empty((total, count))
    for start in range(0, total, _ROWS):
        part = np.asarray(vectors[start : start + _ROWS], dtype=np.float32)
        similarity = np.round(part @ others.T, DIGITS)
        similarity[references[None, :] == np.arange(start, start + len(part))[:, None]] = -np.inf
        best = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(similarity, best, axis=1), axis=1, kind="stable")
        best = np.take_along_axis(best, order, axis=1)
        found[start : start + len(part)] = references[best]
        cosine = np.take_along_axis(similarity, best, axis=1).astype(np.float64)
        weights[start : start + len(part)] = 1 / (1 + np.sqrt(np.maximum(2 - 2 * cosine, 0)))
    return found, weights


def cut_statistic(label: Array, neighbors: Array, weights: Array, labels: int) -> Array:
    """Return how much more often the neighbors of a text share its label than by chance, as a z-score.

    The cut statistic of Muhlenbach et al. (2004), as used for pseudo-labels in arXiv 2206.02914, with its sign
    reversed: higher is better. Under the null hypothesis, each neighbor has the label of the text with a probability
    equal to the label's share.

    Parameters
    ----------
    label : int array of shape (rows,)
    neighbors, weights : see `nearest`
    labels : number of labels

    Returns
    -------
    float64 array of shape (rows,); 0 if all texts have the same label

    Examples
    --------
    >>> cut_statistic(np.array([0, 0, 1, 1]), np.array([[1], [0], [3], [0]]), np.ones((4, 1)), 2).tolist()
    [1.0, 1.0, 1.0, -1.0]
    """
    share = (np.bincount(label, minlength=labels) / len(label))[label]
    same = np.where(label[neighbors] == label[:, None], weights, 0.0).sum(axis=1)
    deviation = np.sqrt(share * (1 - share) * (weights**2).sum(axis=1))
    surplus = same - share * weights.sum(axis=1)
    return np.divide(surplus, deviation, out=np.zeros(len(label)), where=deviation > 0)
