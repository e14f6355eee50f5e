"""Rows in memory without ``datasets`` are read like a data set."""

from __future__ import annotations

import datasets
import numpy as np
import pyarrow as pa

from pet.data.chunk import Chunk
from pet.data.pick import pick_columns, pick_rows


def test_a_chunk_reads_like_a_data_set() -> None:
    columns = {"id": ["a", "b", "c"], "text": ["one", "two", "three"]}
    chunk, table = Chunk(pa.table(columns)), datasets.Dataset.from_dict(columns)
    assert len(chunk) == len(table)
    assert chunk["id"] == list(table["id"])
    assert chunk[1:5] == table[1:5]
    for rows in (range(2), np.array([2, 0]), np.zeros(0, dtype=np.int64)):
        assert pick_rows(chunk, rows)[:] == pick_rows(table, rows)[:]
    assert pick_columns(chunk, ["text"])[:] == pick_columns(table, ["text"])[:]
