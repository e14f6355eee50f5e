"""Rows in memory for commands that only classify them: ``datasets`` and what it imports take half a second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa


class Chunk:
    """The few methods of ``datasets.Dataset`` that a classifier needs.

    Parameters
    ----------
    table : the rows

    Examples
    --------
    >>> chunk = Chunk(pa.table({"id": ["1", "2"], "text": ["a", "b"]}))
    >>> len(chunk), chunk["id"], chunk.select_columns(["text"])[1:2]
    (2, ['1', '2'], {'text': ['b']})
    >>> chunk.select([1, 0])["text"]
    ['b', 'a']
    """

    def __init__(self, table: pa.Table):
        self._table = table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, key: str | slice) -> Any:
        """Return the values of a column, or a mapping of the columns of some rows."""
        if isinstance(key, str):
            return self._table.column(key).to_pylist()
        start, stop, _ = key.indices(len(self))
        return self._table.slice(start, stop - start).to_pydict()

    def select(self, rows: Any, new_fingerprint: str = "") -> Chunk:
        """Return the rows with these numbers."""
        return Chunk(self._table.take(np.asarray(rows, dtype=np.int64)))

    def select_columns(self, names: Sequence[str], new_fingerprint: str = "") -> Chunk:
        """Return the columns with these names."""
        return Chunk(pa.Table.from_arrays([self._table.column(name) for name in names], names=list(names)))
