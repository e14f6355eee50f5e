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

from pet.data.source import first_line
from pet.ensemble.soft_labels import read_probabilities
from pet.errors import PetError

Array = NDArray[Any]


def write_pseudo_labels(
    path: Path, rows: Array, chosen: Array, ids: pa.Array, probabilities: Array, labels: Sequence[str]
) -> None:
    """Write the pseudo-labeled texts of a member to a Parquet file.

    Parameters
    ----------
    path : the file
    rows : rows of the pool, int64, shape (n,)
    chosen : their pseudo-labels as positions in `labels`, int64, shape (n,); or whether they have each label, bool,
        shape (n, L). Then the column ``labels`` has the names, and ``label`` the most probable one
    ids : ids of all rows of the pool
    probabilities : merged probabilities of the members that chose the rows, shape (n, L)
    labels : names of the labels
    """
    names = np.asarray(labels, dtype=object)
    width, sets = len(labels), chosen if chosen.ndim == 2 else None
    chosen = chosen if sets is None else probabilities.argmax(axis=1)
    columns: dict[str, pa.Array] = {
        "row": pa.array(rows, pa.int64()),
        "id": ids.take(pa.array(rows, pa.int64())),
        "label": pa.array(names[chosen], pa.string()),
        "confidence": pa.array(probabilities[np.arange(len(rows)), chosen], pa.float64()),
        "probabilities": pa.ListArray.from_arrays(
            pa.array(np.arange(len(rows) + 1) * width, pa.int32()), pa.array(probabilities.reshape(-1))
        ),
    }
    if sets is not None:
        columns["labels"] = pa.array([names[own].tolist() for own in sets], pa.list_(pa.string()))
    pq.write_table(pa.table(columns), path)


def read_pseudo_labels(
    path: Path, labels: Sequence[str], pool: int | None = None, cure: str = ""
) -> tuple[Array, Array, Array]:
    """Read the pseudo-labeled texts of a member.

    Parameters
    ----------
    path : the file
    labels : names of the labels
    pool : number of rows of the pool; default: unknown
    cure : what to do about a file that cannot be used; default: delete its folder

    Returns
    -------
    rows : rows of the pool, int64, shape (n,)
    labels : positions in `labels`, int64, shape (n,); or 0 and 1 for each label, float32, shape (n, L)
    probabilities : float64, shape (n, L)

    Raises
    ------
    PetError
        If the file is damaged, or names rows or labels that the run does not have.
    """
    cure = cure or f"delete {path.parent}, and start the run again to choose the texts anew"
    try:
        table = pq.read_table(path)
        several = "labels" in table.column_names
        rows, names = np.asarray(table["row"].to_numpy(), dtype=np.int64), table["labels" if several else "label"]
        probabilities = np.asarray(pc.list_flatten(table["probabilities"]).to_numpy(), dtype=np.float64)
        probabilities = probabilities.reshape(len(rows), len(labels))
        found = set((pc.list_flatten(names) if several else names).to_pylist())
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise PetError(f"{path}: cannot be read ({first_line(error)}); {cure}") from error
    there = (rows >= 0) & (rows < (np.inf if pool is None else pool))
    known = not names.null_count and found <= set(labels)
    if not there.all() or not known or not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise PetError(f"{path}: has other texts or labels than this run; {cure}")
    if several:
        sets = [[label in own for label in labels] for own in names.to_pylist()]
        return rows, np.array(sets, dtype=np.float32).reshape(len(rows), len(labels)), probabilities
    return rows, label_positions(names, labels), probabilities


def label_positions(column: pa.ChunkedArray, labels: Sequence[str]) -> Array:
    """Return the positions in `labels` of a column of label names: int64, shape (rows,)."""
    found = pc.index_in(column, value_set=pa.array(list(labels), pa.string()))
    return np.asarray(found.to_numpy()).astype(np.int64)


def most_probable(path: Path, labels: Sequence[str]) -> Array:
    """Return the most probable label of each text in a file of soft labels.

    Returns
    -------
    positions in `labels`: int64 array of shape (rows,)
    """
    if "label" in pq.read_schema(path).names:
        return label_positions(pq.read_table(path, columns=["label"])["label"], labels)
    return np.asarray(read_probabilities(path).argmax(axis=1), dtype=np.int64)  # texts may have several labels
