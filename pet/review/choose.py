"""Which texts to label next: one from the middle of each region of texts, with more regions where labels are unsure.

Uncertainty alone picks texts that nobody can label, and many of a kind; with a few labels it does worse than chance. So
the texts are clustered with their uncertainty as weights, and the text in the middle of each cluster is chosen (Zhdanov
2019, arXiv 1901.05954). Uncertainty is the margin of the merged label: 1 minus the difference between the two highest
probabilities. The disagreement of members (arXiv 2211.08358) did no better as a weight. Clusters that also hold the
labeled texts, the typical and doubtful texts of clusters, and an even number of each predicted label did worse; see
benchmarks/README.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.numerics import softmax
from pet.seeds import derive_seed

Array = NDArray[Any]
CANDIDATES = 2000  # texts that are clustered; of more, a sample
_MOST_KNOWN = 200  # texts that are clustered with them
_LEAST = 0.05  # what a text counts at least


def divergence(scores: Sequence[Array], weights: Array) -> Array:
    """Return how much members disagree about each text, in nats.

    The entropy of the members' mean probabilities less the mean of their entropies (Lin 1991, IEEE Transactions on
    Information Theory 37).

    Parameters
    ----------
    scores : of each member, shape (rows, L); rows of NaN abstain
    weights : of each member, shape (members,)

    Returns
    -------
    float64 array of shape (rows,), between 0 and log L

    Examples
    --------
    Two members that are sure of different labels, and two that are both undecided:

    >>> sure = [np.array([[9.0, -9.0], [0.0, 0.0]]), np.array([[-9.0, 9.0], [0.0, 0.0]])]
    >>> divergence(sure, np.array([0.5, 0.5])).round(3).tolist()
    [0.693, 0.0]
    """
    total = np.zeros(len(scores[0]))
    mixed, spread = np.zeros(scores[0].shape), np.zeros(len(scores[0]))
    for own, weight in zip(scores, weights, strict=True):
        share = softmax(np.nan_to_num(np.asarray(own, dtype=np.float64)))
        counts = weight * ~np.isnan(own).any(axis=1)
        total += counts
        mixed += counts[:, None] * share
        spread += counts * _entropy(share)
    known = np.where(total > 0, total, 1.0)
    return np.asarray(np.maximum(_entropy(mixed / known[:, None]) - spread / known, 0.0))


def divergence_of_decisions(scores: Sequence[Array], weights: Array) -> Array:
    """Return how much members disagree about the labels of each text, in nats, if it may have several.

    Parameters
    ----------
    scores : log-odds of each member, shape (rows, L); rows of NaN abstain
    weights : of each member, shape (members,)

    Returns
    -------
    float64 array of shape (rows,): the sum of `divergence` over all decisions about a label

    Examples
    --------
    >>> scores = [np.array([[9.0, 9.0]]), np.array([[-9.0, 9.0]])]
    >>> divergence_of_decisions(scores, np.array([0.5, 0.5])).round(2).tolist()
    [0.69]
    """
    total = np.zeros(len(scores[0]))
    for label in range(scores[0].shape[1]):
        decisions = [np.stack([own[:, label], np.zeros(len(own))], axis=1) for own in scores]
        total += divergence(decisions, weights)
    return total


def _entropy(probabilities: Array) -> Array:
    return np.asarray(-(probabilities * np.log(np.maximum(probabilities, 1e-300))).sum(axis=1))


def margin_doubt(probabilities: Array) -> Array:
    """Return how unsure the label of each text is, from 0 to 1: 1 minus the lead of the most probable label.

    Parameters
    ----------
    probabilities : shape (rows, L)

    Examples
    --------
    >>> margin_doubt(np.array([[0.7, 0.2, 0.1], [0.5, 0.5, 0.0]])).round(3).tolist()
    [0.5, 1.0]
    """
    if probabilities.shape[1] < 2:
        return np.zeros(len(probabilities))
    highest = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(1 - (highest[:, 1] - highest[:, 0]))


def choose(doubt: Array, vectors: Array, count: int, seed: int = 0, known: Array | None = None) -> Array:
    """Choose texts to label next, the most doubtful first.

    Parameters
    ----------
    doubt : how unsure the label of each text is, from 0 to 1, shape (rows,); equal values: only the vectors count
    vectors : of unit length, shape (rows, D)
    count : number of texts to choose
    seed : random seed of the clustering, and of the sample of very many texts
    known : vectors of texts that were chosen before, shape (n, D): other places come first

    Returns
    -------
    int64 array of at most `count` rows

    Examples
    --------
    Four texts in two places; the most doubtful of each place:

    >>> vectors = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> choose(np.array([0.4, 0.5, 0.1, 0.2]), vectors, 2).tolist()
    [1, 3]
    """
    candidates = np.arange(len(doubt))
    most = max(CANDIDATES, count)
    if len(candidates) > most:
        drawn = np.random.default_rng(derive_seed(seed, "candidates")).permutation(len(candidates))[:most]
        candidates = np.sort(drawn)
    if len(candidates) > count:
        near = vectors[:0] if known is None else known
        candidates = candidates[_spread(doubt[candidates], vectors[candidates], near, count, seed)]
    return np.asarray(candidates[np.argsort(-doubt[candidates], kind="stable")])


def _spread(doubt: Array, vectors: Array, known: Array, count: int, seed: int) -> Array:
    """Choose the candidate in the middle of each cluster: positions of shape (count,)."""
    from sklearn.cluster import KMeans

    near = known[:: -(-len(known) // _MOST_KNOWN) or 1]
    places = _centered(np.concatenate([vectors, near]))
    weights = np.concatenate([_LEAST + doubt, np.full(len(near), _LEAST)])
    clusters = min(count + len(near), len(np.unique(places, axis=0)))
    model = KMeans(clusters, n_init=1, random_state=seed).fit(places, sample_weight=weights)
    own, covered = model.labels_[: len(doubt)], np.isin(np.arange(clusters), model.labels_[len(doubt) :])
    distance = np.linalg.norm(places[: len(doubt)] - model.cluster_centers_[own], axis=1)
    best = np.lexsort((-doubt, distance.round(6)))
    cluster, first = np.unique(own[best], return_index=True)  # the text in the middle of each cluster
    order = np.lexsort((-np.bincount(own, weights[: len(doubt)], clusters)[cluster], covered[cluster]))
    chosen = best[first[order]]
    others = np.setdiff1d(np.argsort(-doubt, kind="stable"), chosen, assume_unique=True)
    return np.asarray(np.concatenate([chosen, others])[:count])


def _centered(vectors: Array) -> Array:
    """Return the vectors from their mean, of unit length: all texts of a task are alike to some degree."""
    moved = np.asarray(vectors, dtype=np.float64) - np.mean(vectors, axis=0, dtype=np.float64)
    return np.asarray(moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-9))
