"""Selection of pseudo-labeled texts that may have several labels. Pure functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.ipet.ranked import SHARPNESS
from pet.ipet.selection import Chosen

Array = NDArray[Any]


def draw_sets(
    probabilities: Array,
    threshold: float,
    wanted: Array,
    empty: int,
    eligible: Array,
    generator: np.random.Generator,
) -> Chosen:
    """Draw texts label by label, the rarest label first, and texts without any label.

    Texts of a label are drawn by the rank of its probability, as in `pet.ipet.ranked.draw_ranked`. Chosen texts keep
    all their labels, and count for each of them. So a label that is common among the texts of others gets few of its
    own.

    Parameters
    ----------
    probabilities : merged predictions for the pool, shape (rows, L)
    threshold : probability from which a label applies
    wanted : number of texts per label, shape (L,)
    empty : number of texts without any label
    eligible : bool array, False for rows that must not be drawn
    generator : random generator; draws one number per row of the pool

    Returns
    -------
    Chosen: its labels are bool of shape (n, L)

    Examples
    --------
    >>> p = np.array([[0.9, 0.8], [0.7, 0.1], [0.2, 0.1]])
    >>> found = draw_sets(p, 0.5, np.array([1, 1]), 1, np.ones(3, bool), np.random.default_rng(0))
    >>> found.rows.tolist(), found.labels.tolist(), found.available.tolist()
    ([0, 2], [[True, True], [False, False]], [2, 1])
    """
    applies = probabilities >= threshold
    noise = np.log(np.maximum(generator.standard_exponential(len(probabilities)), 1e-300))
    taken = np.zeros(len(probabilities), dtype=bool)
    available = (applies & eligible[:, None]).sum(axis=0)
    for label in np.argsort(available, kind="stable"):
        missing = int(wanted[label]) - int((applies[:, label] & taken).sum())
        rows = np.flatnonzero(applies[:, label] & eligible & ~taken)
        taken[_best(rows, probabilities[rows, label], noise, missing)] = True
    rows = np.flatnonzero(~applies.any(axis=1) & eligible)
    taken[_best(rows, -probabilities[rows].max(axis=1), noise, empty)] = True
    chosen = np.flatnonzero(taken)
    return Chosen(chosen, applies[chosen], available)


def _best(rows: Array, score: Array, noise: Array, count: int) -> Array:
    """Return `count` rows, drawn by the rank of their score."""
    if count <= 0 or not len(rows):
        return rows[:0]
    rank = np.empty(len(rows), dtype=np.int64)
    rank[np.argsort(-score, kind="stable")] = np.arange(len(rows))
    return np.asarray(rows[np.argsort(noise[rows] + SHARPNESS * rank / count, kind="stable")[:count]])
