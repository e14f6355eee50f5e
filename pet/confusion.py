"""Confusion counts of any number of labels; only cells with texts take memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.int64]
MOST_DENSE = 200  # labels; metrics.json has a matrix for up to this many, and a list of cells for more


@dataclass(frozen=True)
class Confusion:
    """How often each label was predicted for each gold label.

    Attributes
    ----------
    gold, predicted, count : the cells with texts, in the order of a matrix; shape (cells,)
    labels : number of labels L

    Examples
    --------
    >>> found = Confusion.of([0, 1, 1], [0, 1, 0], 2)
    >>> found.to_json(), found.support.tolist(), found.claimed.tolist(), found.hits.tolist()
    ([[1, 0], [1, 1]], [1, 2], [2, 1], [1, 1])
    """

    gold: Array
    predicted: Array
    count: Array
    labels: int

    @classmethod
    def of(cls, gold: ArrayLike, predicted: ArrayLike, labels: int) -> Confusion:
        """Count gold and predicted labels, given as positions of shape (n,)."""
        right, found = np.asarray(gold, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
        cells, count = np.unique(right * labels + found, return_counts=True)
        return cls(cells // labels, cells % labels, count.astype(np.int64), labels)

    @classmethod
    def read(cls, value: Confusion | Mapping[str, Any] | ArrayLike) -> Confusion:
        """Return what `to_json` wrote, or a matrix of shape (L, L) with one row per gold label."""
        if isinstance(value, Confusion):
            return value
        if isinstance(value, Mapping):
            cells = np.asarray(value["cells"], dtype=np.int64).reshape(-1, 3)
            return cls(cells[:, 0], cells[:, 1], cells[:, 2], int(value["labels"]))
        matrix = np.asarray(value, dtype=np.int64)
        gold, predicted = np.nonzero(matrix)
        return cls(gold, predicted, matrix[gold, predicted], len(matrix))

    def to_json(self) -> list[list[int]] | dict[str, Any]:
        """Return a matrix; for more than `MOST_DENSE` labels their number and ``cells`` of gold, predicted, count."""
        if self.labels > MOST_DENSE:
            return {"labels": self.labels, "cells": np.stack([self.gold, self.predicted, self.count], axis=1).tolist()}
        return self.matrix()

    def matrix(self) -> list[list[int]]:
        """Return one row per gold label and one column per predicted label."""
        matrix = np.zeros((self.labels, self.labels), dtype=np.int64)
        matrix[self.gold, self.predicted] = self.count
        rows: list[list[int]] = matrix.tolist()
        return rows

    @property
    def support(self) -> Array:
        """Texts of each gold label, shape (L,)."""
        return self._sum(self.gold, self.count)

    @property
    def claimed(self) -> Array:
        """Texts that each label was predicted for, shape (L,)."""
        return self._sum(self.predicted, self.count)

    @property
    def hits(self) -> Array:
        """Texts of each label that were right, shape (L,)."""
        right = self.gold == self.predicted
        return self._sum(self.gold[right], self.count[right])

    def _sum(self, where: Array, counts: Array) -> Array:
        out = np.zeros(self.labels, dtype=np.int64)
        np.add.at(out, where, counts)
        return out

    def cells(self) -> Sequence[tuple[int, int, int]]:
        """Return gold, predicted and count of each cell with texts."""
        return list(zip(self.gold.tolist(), self.predicted.tolist(), self.count.tolist(), strict=True))
