"""Write and read the pseudo-labeled texts of a member."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

Array = NDArray[Any]


def write_pseudo_labels(
    path: Path, rows: Array, chosen: Array, ids: pa.Array, probabilities: Array, labels: Sequence[str]
) -> None:
    """Write the pseudo-labeled texts of a member to a Parquet file.

    Parameters
    ----------
    path : the file
    rows, chosen : rows of the pool, and their pseudo-labels as positions in `labels`; int64, shape (n,)
    ids : ids of all rows of the pool
    probabilities : merged probabilities of the members that chose the rows, shape (n, L)
    labels : names of the labels
    """
    names = np.asarray(labels, dtype=object)
    width = len(labels)
    columns = {
        "row": pa.array(rows, pa.int64()),
        "id": ids.take(pa.array(rows, pa.int64())),
        "label": pa.array(names[chosen], pa.string()),
        "confidence": pa.array(probabilities[np.arange(len(rows)), chosen], pa.float64()),
        "probabilities": pa.ListArray.from_arrays(
            pa.array(np.arange(len(rows) + 1) * width, pa.int32()), pa.array(probabilities.reshape(-1))
        ),
    }
    pq.write_table(pa.table(columns), path)


def read_pseudo_labels(path: Path, labels: Sequence[str]) -> tuple[Array, Array, Array]:
    """Read the pseudo-labeled texts of a member.

    Returns
    -------
    rows : rows of the pool, int64, shape (n,)
    labels : positions in `labels`, int64, shape (n,)
    probabilities : float64, shape (n, L)
    """
    table = pq.read_table(path)
    rows = table["row"].to_numpy()
    probabilities = np.asarray(table["probabilities"].combine_chunks().flatten().to_numpy(zero_copy_only=False))
    return rows, label_positions(table["label"], labels), probabilities.reshape(len(rows), len(labels))


def label_positions(column: pa.ChunkedArray, labels: Sequence[str]) -> Array:
    """Return the positions in `labels` of a column of label names: int64, shape (rows,)."""
    found = pc.index_in(column, value_set=pa.array(list(labels), pa.string()))
    return np.asarray(found.to_numpy()).astype(np.int64)
