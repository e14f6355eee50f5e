"""Rank words for labels: pure functions of arrays.

With labeled texts, words are ranked as in PETAL (arXiv 2010.13641): by the log-likelihood ratio of a label against the
rest. Without, they are the neighbors of the label's name in the model's output embeddings, refined with unlabeled
texts as in KPT (arXiv 2108.02035).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
LIKELY = 300  # words of a label that compete: those that the model finds most likely in its texts (PETAL: 1000)
LIKELY_IN_POOL = 1000  # words that compete for a label without texts: those most likely in the unlabeled texts
NEAREST = 100  # neighbors of a label's name that compete
SEEDS = 3  # neighbors that stand for a label beside its own name
NAME_EXAMPLES = 2  # labeled texts that count as much as the name of the label


def likelihood_ratios(log_probabilities: Array, belongs: Array) -> tuple[Array, Array]:
    """Return how much more likely words are in the texts of a label than in the others (PETAL, section 3).

    Parameters
    ----------
    log_probabilities : of each word at the mask of each labeled text, shape (rows, C)
    belongs : bool array of shape (rows, L): whether a text has a label

    Returns
    -------
    ratios : shape (C, L): mean log-odds of a word in the texts of a label, minus that in all other texts. 0 for a label
        without texts.
    means : shape (C, L): mean log-probability of a word in the texts of a label

    Examples
    --------
    >>> belongs = np.array([[True, False], [False, True], [False, True]])
    >>> ratios, _ = likelihood_ratios(np.log([[0.5], [0.2], [0.2]]), belongs)
    >>> ratios.round(4).tolist()
    [[1.3863, -1.3863]]
    """
    values = log_probabilities.astype(np.float64)
    odds = values - np.log1p(-np.exp(np.minimum(values, -1e-6)))
    ratios = np.zeros((values.shape[1], belongs.shape[1]))
    means = np.full(ratios.shape, -np.inf)
    for label in np.flatnonzero(belongs.any(axis=0)):
        of_label = belongs[:, label]
        means[:, label] = values[of_label].mean(axis=0)
        if not of_label.all():
            ratios[:, label] = odds[of_label].mean(axis=0) - odds[~of_label].mean(axis=0)
    return ratios, means


def similarities(embeddings: Array, seeds: Sequence[Array]) -> Array:
    """Return the cosine similarity of words to the names of labels, with the mean embedding subtracted.

    Parameters
    ----------
    embeddings : output embeddings of the words, shape (C, D)
    seeds : for each label, the output embeddings of the tokens of its name, shape (tokens, D); may be empty

    Returns
    -------
    float array of shape (C, L); 0 for a label without tokens
    """
    center = embeddings.mean(axis=0)
    words = _unit(embeddings - center)
    names = [_unit(_unit(seed - center).mean(axis=0)) if len(seed) else 0 * center for seed in seeds]
    return np.asarray(words @ np.array(names).T)


def relevance(log_probabilities: Array, similar: Array) -> Array:
    """Return how closely words follow the names of labels over unlabeled texts, compared with other labels (KPT).

    A word is relevant if the model fills it in where it fills in the label's nearest neighbors. Each word's mean
    log-probability is subtracted first, which is KPT's contextualized calibration.

    Parameters
    ----------
    log_probabilities : of each word at the mask of each unlabeled text, shape (rows, C)
    similar : result of `similarities`, shape (C, L)

    Returns
    -------
    float array of shape (C, L): correlation with the label, minus the mean correlation with the other labels
    """
    calibrated = _unit((log_probabilities - log_probabilities.mean(axis=0)).T)  # (C, rows)
    nearest = np.argsort(-similar, axis=0, kind="stable")[:SEEDS]
    names = np.array([_unit(calibrated[nearest[:, label]].mean(axis=0)) for label in range(similar.shape[1])])
    return against_others(calibrated @ names.T)


def against_others(scores: Array) -> Array:
    """Subtract the mean score of the other labels from scores of shape (C, L)."""
    others = max(scores.shape[1] - 1, 1)
    return np.asarray(scores - (scores.sum(axis=1, keepdims=True) - scores) / others)


def with_names(ratios: Array, similar: Array, counts: Array) -> Array:
    """Return likelihood ratios in which the name of a label counts as much as `NAME_EXAMPLES` texts.

    Parameters
    ----------
    ratios, similar : results of `likelihood_ratios` and `similarities`, shape (C, L)
    counts : labeled texts of each label, shape (L,)
    """
    named = against_others(similar)
    highest = named.max(axis=0)
    scaled = named * np.where(highest > 0, ratios.max(axis=0) / np.maximum(highest, 1e-9), 0)
    examples = np.where(similar.any(axis=0), NAME_EXAMPLES, 0)
    return np.asarray((counts * ratios + examples * scaled) / np.maximum(counts + examples, 1))


def highest(scores: Array, most: int) -> Array:
    """Return True for the `most` highest scores of each column: bool array of the same shape."""
    order = np.argsort(-scores, axis=0, kind="stable")
    found = np.zeros(scores.shape, dtype=bool)
    np.put_along_axis(found, order[:most], True, axis=0)
    return found


def scale_to(scores: Array, columns: Array) -> Array:
    """Scale some columns of scores so that their highest value is that of the others; the scores of the others stay.

    Parameters
    ----------
    scores : shape (..., L)
    columns : bool array of shape (L,)
    """
    if columns.all() or not columns.any():
        return scores
    own, others = scores[..., columns].max(), scores[..., ~columns].max()
    factor = others / own if own > 0 and others > 0 else 1.0
    return np.asarray(scores * np.where(columns, factor, 1.0))


def choose(scores: Array, allowed: Array, count: int) -> list[list[int]]:
    """Return the best words of each label. A word goes to the label that it suits best, and to no other.

    Parameters
    ----------
    scores : shape (C, L); 0 or less is no evidence for a label
    allowed : bool array of shape (C, L): words that compete for a label
    count : maximum number of words of a label

    Examples
    --------
    >>> choose(np.array([[3.0, 1.0], [2.0, 2.5], [0.5, -1.0]]), np.ones((3, 2), bool), 2)
    [[0, 2], [1]]
    """
    scores = np.where(allowed & (scores > 0), scores, -np.inf)
    mine = scores.argmax(axis=1)
    found = []
    for label in range(scores.shape[1]):
        rows = np.flatnonzero((mine == label) & np.isfinite(scores[:, label]))
        found.append(rows[np.argsort(-scores[rows, label], kind="stable")[:count]].tolist())
    return found


def _unit(vectors: Array) -> Array:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12))
