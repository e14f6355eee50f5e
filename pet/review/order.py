"""Sort texts for review as `pet suggest` does: a batch at a time, so that a large pool is never sorted whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.review.choose import choose

Array = NDArray[Any]
BATCH = 20  # texts that are chosen together; as many as `pet suggest` chooses by default


class Order:
    """Some rows of a table in the order of review.

    The first batch is what `pet.review.choose.choose` chooses. The next ones are chosen from the rest.

    Parameters
    ----------
    rows : row numbers, ascending
    doubt, vectors : of all rows; see `pet.review.choose.choose`
    seed : random seed of the clustering

    Attributes
    ----------
    rows : the row numbers as they were given

    Examples
    --------
    >>> order = Order(np.arange(3), np.array([0.1, 0.3, 0.2]), np.eye(3))
    >>> order.first(2), len(order)
    ([1, 2], 3)
    """

    def __init__(self, rows: Array, doubt: Array, vectors: Array, seed: int = 0):
        self._known = vectors[:0]  # those of the batches before
        self._doubt, self._vectors, self._seed = doubt, vectors, seed
        self._left = np.asarray(rows, dtype=np.int64)
        self.rows = self._left
        self._sorted: list[int] = []

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, place: int) -> int:
        """Return the row at a place in the order, from 0."""
        self._sort(place + 1)
        return self._sorted[place]

    def first(self, count: int) -> list[int]:
        """Return the first rows; all of them if there are fewer than `count`."""
        self._sort(count)
        return self._sorted[:count]

    def number_of(self, rows: Sequence[int]) -> int:
        """Return how many of some rows are in the order."""
        if not len(self.rows):
            return 0
        places = np.searchsorted(self.rows, np.asarray(rows, dtype=np.int64))
        return int((self.rows[np.minimum(places, len(self.rows) - 1)] == rows).sum())

    def _sort(self, count: int) -> None:
        while len(self._sorted) < min(count, len(self.rows)):
            left = self._left
            doubt, vectors = self._doubt[left], self._vectors[left]
            chosen = choose(doubt, vectors, BATCH, self._seed, self._known)
            self._sorted += left[chosen].tolist()
            self._known = np.concatenate([self._known, vectors[chosen]])
            self._left = np.delete(left, chosen)
