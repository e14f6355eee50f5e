"""Labeled texts whose label the others contradict: confident learning (Northcutt et al. 2021, arXiv 1911.00068)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def contradicted_decisions(probabilities: Array, gold: Array) -> Array:
    """Return which decisions about a label are probably wrong, if a text may have several; see `contradictions`.

    Parameters
    ----------
    probabilities : of each label, shape (n, L), from models that did not learn from the text; rows of NaN are unknown
    gold : 0 or 1 for each label, shape (n, L)

    Returns
    -------
    float64 array of shape (n, L): by how much the other decision is more probable; 0 where the decision is credible

    Examples
    --------
    >>> probabilities = np.array([[0.9], [0.8], [0.1], [0.9], [0.2]])
    >>> contradicted_decisions(probabilities, np.array([[1], [1], [0], [0], [0]])).ravel().round(1).tolist()
    [0.0, 0.0, 0.0, 0.8, 0.0]
    """
    found = np.zeros(gold.shape)
    for label in range(gold.shape[1]):
        share, own = probabilities[:, label], gold[:, label].astype(np.int64)
        rows = contradictions(np.stack([1 - share, share], axis=1), own)
        found[rows, label] = np.abs(2 * share[rows] - 1)
    return found


def contradictions(probabilities: Array, gold: Array) -> Array:
    """Return the labeled texts whose label is probably wrong, the most suspicious first.

    A label is credible for a text if its probability is at least the mean probability that texts with this label have
    for it. A text is suspicious if its most probable credible label is another one than its own. This needs no
    threshold, and a label that models are always unsure of does not make its texts suspicious.

    Parameters
    ----------
    probabilities : shape (n, L), from models that did not learn from the text; rows of NaN are unknown
    gold : int array of shape (n,)

    Returns
    -------
    int64 array: positions of suspicious texts, ordered by the probability of the other label less that of their own

    Examples
    --------
    >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.9, 0.1], [0.2, 0.8]])
    >>> contradictions(probabilities, np.array([0, 0, 1, 1, 1])).tolist()
    [3]
    """
    known = ~np.isnan(probabilities).any(axis=1)
    given = np.nan_to_num(probabilities)
    rows = np.arange(len(gold))
    threshold = np.full(probabilities.shape[1], np.inf)
    for label in np.unique(gold[known]):
        threshold[label] = given[known & (gold == label), label].mean()
    credible = np.where(given >= threshold, given, -1.0)
    other = credible.argmax(axis=1)
    suspicious = known & (credible[rows, other] >= 0) & (other != gold)
    margin = given[rows, other] - given[rows, gold]
    found = np.flatnonzero(suspicious & (margin > 0))
    return np.asarray(found[np.argsort(-margin[found], kind="stable")])
