"""Which texts to label next: typical ones of every kind, rather those on which members disagree.

Uncertainty alone picks texts that nobody can label, and many of a kind; with a few labels it does worse than chance. So
the texts are clustered, with those that have labels, and each cluster without a label gives one text: one that many
others resemble, and on which the members disagree. With prompts, disagreement does better than uncertainty (arXiv
2211.08358); typical texts do better while labels are few (arXiv 2202.02794). Disagreement is the Jensen-Shannon
divergence of the members' probabilities: high if each member is sure of another label, low if all are equally
undecided. benchmarks/README.md compares the choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.numerics import softmax
from pet.seeds import derive_seed

Array = NDArray[Any]
CANDIDATES = 1000  # doubtful texts that are clustered
_MOST_KNOWN = 200  # labeled texts that are clustered with them
_NEIGHBORS = 15
_LEAST = 0.1  # what doubt counts at least


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


def choose(doubt: Array, labels: Array, vectors: Array, count: int, seed: int = 0, known: Array | None = None) -> Array:
    """Choose texts to label next, the most doubtful first.

    The candidates are the most doubtful texts of each predicted label, at most `CANDIDATES`. They are clustered with
    the labeled texts. The largest clusters without a labeled text come first, and each gives the text whose likeness to
    its neighbors times the rank of its doubt is largest. So texts that say the same are not chosen twice.

    Parameters
    ----------
    doubt : of each text, shape (rows,); equal values: only the vectors count
    labels : predicted label of each text, shape (rows,)
    vectors : of unit length, shape (rows, D)
    count : number of texts to choose
    seed : random seed of the clustering, and of the order of texts with equal doubt
    known : vectors of labeled texts, shape (n, D)

    Returns
    -------
    int64 array of at most `count` rows

    Examples
    --------
    Four texts in two places, one label; the most doubtful of each place:

    >>> vectors = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> choose(np.array([0.4, 0.5, 0.1, 0.2]), np.zeros(4, dtype=int), vectors, 2).tolist()
    [1, 3]
    """
    candidates = most_doubtful(doubt, labels, max(CANDIDATES, count), seed)
    if len(candidates) > count:
        near = vectors[:0] if known is None else known
        candidates = candidates[_spread(doubt[candidates], vectors[candidates], near, count, seed)]
    return np.asarray(candidates[np.argsort(-doubt[candidates], kind="stable")])


def _spread(doubt: Array, vectors: Array, known: Array, count: int, seed: int) -> Array:
    """Choose one candidate of each cluster: positions of shape (count,)."""
    from scipy.stats import rankdata
    from sklearn.cluster import KMeans

    near = known[:: -(-len(known) // _MOST_KNOWN) or 1]
    places = _centered(np.concatenate([vectors, near]))
    clusters = min(count + len(near), len(np.unique(places, axis=0)))
    found = KMeans(clusters, n_init=1, random_state=seed).fit_predict(places)
    own, covered = found[: len(vectors)], np.isin(np.arange(clusters), found[len(vectors) :])
    worth = _likeness(places[: len(vectors)]) * (_LEAST + rankdata(doubt) / len(doubt))
    best = np.argsort(-worth, kind="stable")
    cluster, first = np.unique(own[best], return_index=True)  # the most worthwhile text of each cluster
    order = np.lexsort((-np.bincount(own, minlength=clusters)[cluster], covered[cluster]))
    chosen = best[first[order]]
    others = best[~np.isin(best, chosen)]
    return np.asarray(np.concatenate([chosen, others])[:count])


def _centered(vectors: Array) -> Array:
    """Return the vectors from their mean, of unit length: all texts of a task are alike to some degree."""
    moved = np.asarray(vectors, dtype=np.float64) - np.mean(vectors, axis=0, dtype=np.float64)
    return np.asarray(moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-9))


def _likeness(places: Array) -> Array:
    """Return the mean likeness of each text to its neighbors, between 0 and 1."""
    alike = (1 + places @ places.T) / 2
    np.fill_diagonal(alike, 0)
    neighbors = min(_NEIGHBORS, len(places) - 1)
    return np.asarray(np.partition(alike, -neighbors, axis=1)[:, -neighbors:].mean(axis=1))


def most_doubtful(doubt: Array, labels: Array, count: int, seed: int = 0) -> Array:
    """Return the most doubtful texts, about as many of each predicted label, sorted by doubt; equal ones at random."""
    chance = np.random.default_rng(derive_seed(seed, "doubt")).permutation(len(doubt))
    order = np.lexsort((chance, -doubt))
    ranks = np.empty(len(order), dtype=np.int64)  # place of each text among those of its label
    for label in np.unique(labels):
        own = order[labels[order] == label]
        ranks[own] = np.arange(len(own))
    chosen = np.lexsort((chance, -doubt, ranks))[:count]
    return np.asarray(chosen[np.argsort(-doubt[chosen], kind="stable")])
