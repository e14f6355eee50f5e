"""Folds of the labeled texts: which texts are held out from which member."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.seeds import derive_seed

NEVER = -1  # the fold of a text that is never held out


def stratified_folds(labels: NDArray[np.integer[Any]], folds: int, seed: int) -> NDArray[np.int64]:
    """Assign each labeled text to a fold, so that every label is spread over as many folds as possible.

    A text that is the only one of its label is never held out: without it, nothing could learn the label.

    Parameters
    ----------
    labels : positions in the task's labels, shape (rows,); or 0 and 1 for each label, shape (rows, L)
    folds : number of folds, at least 2
    seed : random seed

    Returns
    -------
    int64 array of shape (rows,): the fold of each row, from 0, or `NEVER`. The sizes of folds differ by at most 1.

    Examples
    --------
    >>> folds = stratified_folds(np.array([0, 0, 0, 1, 1, 2]), 2, seed=0)
    >>> np.bincount(folds[:5]).tolist(), int(folds[5])
    ([3, 2], -1)
    """
    if labels.ndim == 2:
        return _of_sets(labels, folds, seed)
    generator = np.random.default_rng(derive_seed(seed, "folds"))
    fold = np.full(len(labels), NEVER, dtype=np.int64)
    assigned = 0
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        if len(rows) > 1:
            fold[rows] = (assigned + np.arange(len(rows))) % folds
            assigned += len(rows)
    return fold


def rarest_labels(indicator: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Return the rarest label of each text that may have several; L for a text without labels.

    Examples
    --------
    >>> rarest_labels(np.array([[1, 1], [1, 0], [0, 0]])).tolist()
    [1, 0, 2]
    """
    labels = indicator.shape[1]
    counts = np.where(indicator > 0, indicator.sum(axis=0), len(indicator) + 1)
    return np.where(indicator.any(axis=1), counts.argmin(axis=1), labels).astype(np.int64)


def _of_sets(indicator: NDArray[np.integer[Any]], folds: int, seed: int) -> NDArray[np.int64]:
    """Deal texts with several labels to the folds in the order of their rarest labels."""
    generator = np.random.default_rng(derive_seed(seed, "folds"))
    fold = np.full(len(indicator), NEVER, dtype=np.int64)
    only = indicator.sum(axis=0) == 1
    shuffled = generator.permutation(np.flatnonzero(~(indicator[:, only] > 0).any(axis=1)))
    rows = shuffled[np.argsort(rarest_labels(indicator)[shuffled], kind="stable")]
    fold[rows] = np.arange(len(rows)) % folds
    return fold
