"""How well texts fit the labels: how close their vectors are to those of the labeled texts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.numerics import unit_length

Array = NDArray[Any]


def label_centers(vectors: Array, gold: Array) -> Array:
    """Return the mean direction of the texts of each label that has some: shape (labels, D).

    Parameters
    ----------
    vectors : of length 1, shape (rows, D)
    gold : int labels of shape (rows,); or 0 and 1 of shape (rows, L), if a text may have several
    """
    return unit_length(np.stack([vectors[own].sum(axis=0) for own in _texts_of_labels(gold)]))


def _texts_of_labels(gold: Array) -> list[Array]:
    """Return for each label that has texts which ones: bool arrays of shape (rows,)."""
    if gold.ndim == 1:
        return [gold == label for label in np.unique(gold)]
    return [gold[:, label] > 0 for label in range(gold.shape[1]) if gold[:, label].any()]


def held_out_fit(vectors: Array, gold: Array) -> Array:
    """Return how close each labeled text is to the nearest label. The means of its own labels are those of other texts.

    Parameters
    ----------
    vectors, gold : see `label_centers`

    Returns
    -------
    array of shape (rows,); a text that is the only one of its label is compared with the other labels, and -1 if there
    are none

    Examples
    --------
    >>> vectors = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.0, 1.0]])
    >>> held_out_fit(vectors, np.array([0, 0, 1, 1])).round(3).tolist()
    [0.8, 0.8, 1.0, 1.0]
    """
    belongs = _texts_of_labels(gold)
    sums = np.stack([vectors[own].sum(axis=0) for own in belongs])
    found = vectors @ unit_length(sums).T
    for label, own in enumerate(belongs):
        others = unit_length(sums[label] - vectors[own])
        found[own, label] = -1.0 if own.sum() == 1 else (vectors[own] * others).sum(axis=1)
    return np.asarray(found.max(axis=1))


def nearest_fit(vectors: Array, centers: Array) -> Array:
    """Return the cosine of each text and the nearest label, shape (rows,).

    Parameters
    ----------
    vectors : of the texts, shape (rows, D)
    centers : see `label_centers`
    """
    return np.asarray((unit_length(vectors) @ centers.T).max(axis=1))


def least_fit(own: Array, share: float) -> float:
    """Return the threshold that at most this share of the labeled texts are below.

    Parameters
    ----------
    own : how well the labeled texts fit, such as `held_out_fit`
    share : at least 0 and below 1

    Examples
    --------
    >>> least_fit(np.array([0.2, 0.9, 0.8, 0.7]), 0.25)
    0.7
    """
    return float(np.sort(own)[int(share * len(own))])


def fit_figures(fit: Array, least: float, right: Array) -> dict[str, Any]:
    """Return what a threshold would keep and drop of labeled texts.

    Parameters
    ----------
    fit : how well each text fits, shape (rows,)
    least : the threshold
    right : bool array of shape (rows,): whether the label of a text is right

    Returns
    -------
    dict
        ``threshold``, the numbers ``kept`` and ``dropped``, and the shares ``kept_right`` and ``dropped_right``, which
        are None without texts

    Examples
    --------
    >>> fit_figures(np.array([0.9, 0.8, 0.1]), 0.5, np.array([True, False, False]))
    {'threshold': 0.5, 'kept': 2, 'dropped': 1, 'kept_right': 0.5, 'dropped_right': 0.0}
    """
    kept = np.asarray(fit >= least)
    return {
        "threshold": least,
        "kept": int(kept.sum()),
        "dropped": int((~kept).sum()),
        "kept_right": float(right[kept].mean()) if kept.any() else None,
        "dropped_right": float(right[~kept].mean()) if not kept.all() else None,
    }
