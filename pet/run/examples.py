"""The pseudo-labelled texts of a member, as a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pet.ipet import Chosen

Array = NDArray[Any]


def write_examples(path: Path, chosen: Chosen, ids: pa.Array, probabilities: Array, labels: Sequence[str]) -> None:
    """Keep the pseudo-labelled texts of a member as a Parquet file.

    Parameters
    ----------
    path : the file
    chosen : rows of the pool and their pseudo-labels
    ids : of all rows of the pool
    probabilities : what the voters said of the chosen rows, shape (n, L)
    labels : names
    """
    names = np.asarray(labels, dtype=object)
    width = len(labels)
    columns = {
        "row": pa.array(chosen.rows, pa.int64()),
        "id": ids.take(pa.array(chosen.rows, pa.int64())),
        "label": pa.array(names[chosen.labels], pa.string()),
        "confidence": pa.array(probabilities[np.arange(len(chosen.rows)), chosen.labels], pa.float64()),
        "probabilities": pa.ListArray.from_arrays(
            pa.array(np.arange(len(chosen.rows) + 1) * width, pa.int32()), pa.array(probabilities.reshape(-1))
        ),
    }
    pq.write_table(pa.table(columns), path)


def read_examples(path: Path, labels: Sequence[str]) -> tuple[Array, Array, Array]:
    """Pseudo-labelled texts of a member.

    Returns
    -------
    rows : of the pool, int64, shape (n,)
    labels : positions in `labels`, int64, shape (n,)
    probabilities : float64, shape (n, L)
    """
    table = pq.read_table(path)
    rows = table["row"].to_numpy()
    probabilities = np.asarray(table["probabilities"].combine_chunks().flatten().to_numpy(zero_copy_only=False))
    return rows, label_positions(table["label"], labels), probabilities.reshape(len(rows), len(labels))


def label_positions(column: pa.ChunkedArray, labels: Sequence[str]) -> Array:
    """A column of label names as positions in `labels`: int64."""
    found = pc.index_in(column, value_set=pa.array(list(labels), pa.string()))
    return np.asarray(found.to_numpy()).astype(np.int64)
