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
    labels : positions in the task's labels, shape (rows,)
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
    generator = np.random.default_rng(derive_seed(seed, "folds"))
    fold = np.full(len(labels), NEVER, dtype=np.int64)
    assigned = 0
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        if len(rows) > 1:
            fold[rows] = (assigned + np.arange(len(rows))) % folds
            assigned += len(rows)
    return fold
