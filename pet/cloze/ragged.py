"""Rows of different lengths in flat arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths in one flat array.

    Attributes
    ----------
    values : int32 array of shape (total,)
    offsets : int64 array of shape (rows + 1,); row ``i`` is ``values[offsets[i]:offsets[i + 1]]``

    Examples
    --------
    >>> rows = Ragged.from_rows([[5, 6], [], [7]])
    >>> rows.lengths.tolist(), rows[0].tolist()
    ([2, 0, 1], [5, 6])
    """

    values: Array
    offsets: Array

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Array:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> Array:
        """Int64 array of shape (rows,)."""
        return np.diff(self.offsets)

    @classmethod
    def from_rows(cls, rows: Iterable[Sequence[int]]) -> Ragged:
        """Concatenate rows of token ids."""
        arrays = [np.asarray(row, dtype=np.int32) for row in rows]
        offsets = np.zeros(len(arrays) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in arrays], out=offsets[1:])
        values = np.concatenate(arrays) if arrays else np.zeros(0, dtype=np.int32)
        return cls(values, offsets)


@dataclass(frozen=True)
class Encoded:
    """Encoded examples: filled patterns, or plain texts for a classifier. Ready for batching.

    Attributes
    ----------
    ids : token ids, one row per example
    types : int8 array, flat like ``ids.values``; token type ids
    ordinary : bool array, flat like ``ids.values``; False for special tokens (including the unknown token) and the mask
    mask_position : int64 array of shape (rows,), relative to the start of the row; the row length if the
        word comes after the end of the row
    cut : bool array of shape (rows,), True where text was truncated
    choices : tokens of the label words of each row (`pet.cloze.choices.Choices.tokens`), if they come from the row
    """

    ids: Ragged
    types: Array
    ordinary: Array
    mask_position: Array
    cut: Array
    choices: Array | None = None

    def __len__(self) -> int:
        return len(self.ids)


def ragged_index(starts: Array, lengths: Array) -> Array:
    """Return the flat positions of all rows: ``starts[i], ..., starts[i] + lengths[i] - 1`` for each i in turn.

    Examples
    --------
    >>> ragged_index(np.array([10, 20]), np.array([2, 3])).tolist()
    [10, 11, 20, 21, 22]
    """
    total = int(lengths.sum())
    ends = np.cumsum(lengths)
    return np.arange(total, dtype=np.int64) + np.repeat(starts - (ends - lengths), lengths)
