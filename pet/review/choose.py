"""Which texts to label next: those on which members disagree, and that differ from each other.

Uncertainty alone picks texts that nobody can label, and many of a kind. With prompts, disagreement does better
(arXiv 2211.08358). It is the Jensen-Shannon divergence of the members' probabilities: high if each member is sure of
another label, low if all are equally undecided. Texts are chosen from every predicted label, one from each cluster of
the most doubtful ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.numerics import softmax

Array = NDArray[Any]
CANDIDATES = 10  # doubtful texts for each text to choose


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


def _entropy(probabilities: Array) -> Array:
    return np.asarray(-(probabilities * np.log(np.maximum(probabilities, 1e-300))).sum(axis=1))


def choose(doubt: Array, labels: Array, vectors: Array, count: int, seed: int = 0) -> Array:
    """Choose texts to label next, about in the order of their doubt.

    The candidates are the most doubtful texts of each predicted label, ten for each text to choose. They are clustered
    by their vectors, and each cluster gives one text: the one whose doubt times its distance from the texts that are
    chosen already is largest. So texts that say the same are not chosen twice.

    Parameters
    ----------
    doubt : of each text, shape (rows,)
    labels : predicted label of each text, shape (rows,)
    vectors : of unit length, shape (rows, D)
    count : number of texts to choose
    seed : random seed of the clustering

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
    candidates = most_doubtful(doubt, labels, CANDIDATES * count)
    return np.asarray(candidates[diverse(doubt[candidates], vectors[candidates], count, seed)])


def diverse(doubt: Array, vectors: Array, count: int, seed: int = 0) -> Array:
    """Choose one of each cluster of candidates, which are sorted by doubt; for the parameters see `choose`.

    Returns
    -------
    int64 array of positions
    """
    from sklearn.cluster import KMeans

    if len(doubt) <= count:
        return np.arange(len(doubt))
    places = np.asarray(vectors, dtype=np.float64)
    different = len(np.unique(places, axis=0))
    clusters = KMeans(min(count, different), n_init=3, random_state=seed).fit_predict(places)
    # Candidates are sorted by doubt, so clusters come in the order of their most doubtful texts.
    order = clusters[np.sort(np.unique(clusters, return_index=True)[1])]
    farness = np.ones(len(doubt))  # from the texts that are chosen so far
    chosen: list[int] = []
    for cluster in [*order, *[None] * (count - len(order))]:
        free = np.ones(len(doubt), dtype=bool) if cluster is None else clusters == cluster
        free[chosen] = False
        best = int(np.where(free, doubt * farness, -1.0).argmax())
        chosen.append(best)
        farness = np.minimum(farness, np.maximum(1 - places @ places[best], 0.0))
    return np.asarray(chosen)


def most_doubtful(doubt: Array, labels: Array, count: int) -> Array:
    """Return the most doubtful texts, about as many of each predicted label, sorted by doubt."""
    order = np.lexsort((np.arange(len(doubt)), -doubt))
    ranks = np.empty(len(order), dtype=np.int64)  # place of each text among those of its label
    for label in np.unique(labels):
        own = order[labels[order] == label]
        ranks[own] = np.arange(len(own))
    chosen = np.lexsort((np.arange(len(doubt)), -doubt, ranks))[:count]
    return np.asarray(chosen[np.lexsort((chosen, -doubt[chosen]))])
