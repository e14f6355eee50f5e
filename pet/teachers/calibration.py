"""What a teacher says on average, whatever the text: its preference for some labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_SHRINKAGE = 4.0  # labeled texts; with this many, half of the preference is subtracted


def preference(scores: Array, gold: Array) -> Array:
    """Return the preference of a teacher for each label, shrunk if few texts show it.

    It is the mean score of each label, over the texts of each label and then over the labels, so that the class ratio
    of the labeled texts does not matter.

    Parameters
    ----------
    scores : log-probabilities of labeled texts, shape (n, L); rows of NaN are left out
    gold : their labels, shape (n,)

    Returns
    -------
    float64 array of shape (L,), adding up to 0

    Examples
    --------
    >>> scores = np.array([[0.0, -2.0], [0.0, -1.0], [0.0, -3.0], [0.0, -2.0]])
    >>> preference(scores, np.array([0, 1, 0, 1])).tolist()
    [0.5, -0.5]
    """
    known = ~np.isnan(scores).any(axis=1)
    if not known.any():
        return np.zeros(scores.shape[1])
    scores, gold = scores[known], gold[known]
    mean = np.mean([scores[gold == label].mean(axis=0) for label in np.unique(gold)], axis=0)
    centered: Array = (mean - mean.mean()) * len(gold) / (len(gold) + _SHRINKAGE)
    return centered


def preference_without(scores: Array, gold: Array) -> Array:
    """Return `preference` for each text, as it is without this text: shape (n, L)."""
    rows = np.arange(len(gold))
    found = [preference(scores[rows != row], gold[rows != row]) for row in rows]
    return np.reshape(found, (len(gold), scores.shape[1]))
