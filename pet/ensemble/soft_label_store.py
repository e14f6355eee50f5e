"""Soft labels of any number of texts: in memory, or mapped from a temporary file if they are large."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pet.data.columns import shorten
from pet.data.ids import IdLedger
from pet.data.spill import SpillingBatches
from pet.ensemble.soft_label_rows import TWICE
from pet.errors import PetError

Array = NDArray[Any]


@dataclass(frozen=True)
class SoftLabelPart:
    """Some rows of a file of soft labels.

    Attributes
    ----------
    ids : string array
    probabilities : float64 array of shape (rows, L)
    certain : number of rows with only a label, which gets probability 1
    """

    ids: pa.Array
    probabilities: Array
    certain: int = 0


@dataclass(frozen=True)
class SoftLabelStore:
    """Checked soft labels.

    Attributes
    ----------
    table : Arrow table with the columns ``id`` and ``probabilities``
    labels : the order of the probabilities
    certain : number of rows with only a label
    independent : a text may have any number of labels
    """

    table: pa.Table
    labels: list[str]
    certain: int = 0
    independent: bool = False

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def ids(self) -> pa.ChunkedArray:
        """The ids."""
        return self.table.column("id")

    def parts(self) -> Iterator[Array]:
        """Yield the probabilities of all rows in order, each time as an array of shape (some rows, L)."""
        for chunk in self.table.column("probabilities").chunks:
            yield chunk.flatten().to_numpy().reshape(-1, len(self.labels))

    def probabilities(self, rows: Array) -> Array:
        """Return the probabilities of some rows, float64 of shape (len(rows), L); only these are read."""
        chunks = self.table.column("probabilities").chunks
        starts = np.cumsum([0, *map(len, chunks)])
        found, of = np.empty((len(rows), len(self.labels))), np.searchsorted(starts, rows, side="right") - 1
        for number in np.unique(of):
            own = of == number
            values = chunks[number].flatten().to_numpy().reshape(-1, len(self.labels))
            found[own] = values[rows[own] - starts[number]]
        return found


def store_parts(
    parts: Iterator[SoftLabelPart], labels: Sequence[str], shown: str, *, independent: bool = False
) -> SoftLabelStore:
    """Store parts that were checked; refuse ids that appear in more than one.

    Parameters
    ----------
    parts : each without repeated ids
    labels : the order of the probabilities
    shown : what messages call the file
    independent : a text may have any number of labels
    """
    schema = pa.schema([("id", pa.string()), ("probabilities", pa.list_(pa.float64(), len(labels)))])
    store, certain = SpillingBatches(schema, None, "labels"), 0
    try:
        with IdLedger("labels") as ledger:
            for part in parts:
                numbers = np.ascontiguousarray(part.probabilities)
                flat = pa.Array.from_buffers(pa.float64(), numbers.size, [None, pa.py_buffer(numbers)])
                rows = pa.FixedSizeListArray.from_arrays(flat, len(labels))
                ledger.add(part.ids)
                store.add(pa.RecordBatch.from_arrays([part.ids, rows], schema=schema))
                certain += part.certain
            duplicates = ledger.duplicates()
        table = store.finish().data.table
        if duplicates:
            _refuse_repeated(table.column("id"), duplicates, shown)
    except BaseException:
        store.clear()
        raise
    return SoftLabelStore(table, list(labels), certain, independent)


def _refuse_repeated(ids: pa.ChunkedArray, duplicates: frozenset[int], shown: str) -> None:
    """Raise an error that names a repeated id, given the hashes that appear more than once."""
    seen: set[str] = set()
    for chunk in ids.chunks:
        for row_id in chunk.to_pylist():
            if hash(row_id) in duplicates:
                if row_id in seen:
                    raise PetError(f"{shown}: {TWICE.format(id=shorten(row_id))}")
                seen.add(row_id)
