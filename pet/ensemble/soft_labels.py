"""Soft labels: what the ensemble says of each text of the pool, and the files that it is written to.

Parquet and JSONL hold the same rows; `pet.ensemble.soft_label_files` reads them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonlines
import numpy as np
from numpy.typing import NDArray

from pet.ensemble.combine import merge_scores
from pet.errors import PetError
from pet.numerics import softmax
from pet.store.files import writing

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[Any]
MERGE_ROWS = 65536


@dataclass(frozen=True)
class SoftLabels:
    """Merged predictions for some rows.

    Attributes
    ----------
    probabilities : float64 array of shape (rows, L), in the order of the task's labels
    votes : int array of shape (rows, members): the label that each member would choose
    """

    probabilities: Array
    votes: Array

    @property
    def label(self) -> Array:
        """Most probable label of each row: int64 array of shape (rows,)."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def confidence(self) -> Array:
        """Probability of that label."""
        return np.asarray(self.probabilities.max(axis=1))

    @property
    def entropy(self) -> Array:
        """Entropy of the probabilities, in nats."""
        p = self.probabilities
        return np.asarray(-(p * np.log(np.maximum(p, 1e-300))).sum(axis=1))

    @property
    def agreement(self) -> Array:
        """Share of the members whose own choice is that label."""
        return np.asarray((self.votes == self.label[:, None]).mean(axis=1))


def make_soft_labels(scores: Sequence[Array], weights: Array, bias: Array | float = 0.0) -> SoftLabels:
    """Merge the members' raw scores, each of shape (rows, L), into soft labels (temperature 1).

    `bias`, of shape (L,), is added to the merged scores; see `pet.ensemble.combine.prior_correction`.
    """
    votes = np.stack([np.asarray(s).argmax(axis=1) for s in scores], axis=1)
    return SoftLabels(softmax(merge_scores(scores, weights) + bias), votes)


def soft_label_schema(labels: Sequence[str], members: Sequence[str]) -> pa.Schema:
    """Columns of the Parquet file; the order of the labels and of the members stands in its metadata."""
    import pyarrow as pa

    columns = [
        ("id", pa.string()),
        ("probabilities", pa.list_(pa.float64())),
        ("label", pa.string()),
        ("confidence", pa.float64()),
        ("entropy", pa.float64()),
        ("agreement", pa.float64()),
        ("votes", pa.list_(pa.string())),
    ]
    order = {"labels": json.dumps(list(labels), ensure_ascii=False), "members": json.dumps(list(members))}
    return pa.schema(columns, metadata=order)


def to_arrow(ids: Sequence[str], soft: SoftLabels, labels: Sequence[str], members: Sequence[str]) -> pa.Table:
    """Soft labels as an Arrow table with the columns of `soft_label_schema`."""
    import pyarrow as pa

    names = np.asarray(labels, dtype=object)
    width, voters = soft.probabilities.shape[1], soft.votes.shape[1]
    rows = len(ids)
    arrays = [
        pa.array(ids, pa.string()),
        pa.ListArray.from_arrays(
            pa.array(np.arange(rows + 1) * width, pa.int32()), pa.array(soft.probabilities.reshape(-1))
        ),
        pa.array(names[soft.label], pa.string()),
        pa.array(soft.confidence),
        pa.array(soft.entropy),
        pa.array(soft.agreement),
        pa.ListArray.from_arrays(
            pa.array(np.arange(rows + 1) * voters, pa.int32()), pa.array(names[soft.votes.reshape(-1)], pa.string())
        ),
    ]
    return pa.Table.from_arrays(arrays, schema=soft_label_schema(labels, members))


@contextmanager
def writing_soft_labels(
    path: str | Path, labels: Sequence[str], members: Sequence[str]
) -> Iterator[Callable[[Sequence[str], SoftLabels], None]]:
    """A file of soft labels, Parquet or JSONL by the ending of its name, which is there when all is written.

    Parameters
    ----------
    path : the file
    labels, members : their names, in the order of the columns of `SoftLabels`

    Yields
    ------
    What appends rows: called with their ids and their soft labels.

    Raises
    ------
    PetError
        For another ending, and as `pet.store.files.writing`.
    """
    kind = Path(path).suffix.lower()
    if kind not in (".parquet", ".jsonl"):
        raise PetError(f"{path}: soft labels are written as .parquet or .jsonl; give the file one of these endings")
    with writing(path) as beside:
        if kind == ".jsonl":
            with beside.open("w", encoding="utf-8", newline="\n") as text:
                yield partial(_append_lines, jsonlines.Writer(text), labels, members)
        else:
            with _parquet_writer(beside, labels, members) as table:
                yield lambda ids, soft: table.write_table(to_arrow(ids, soft, labels, members))


def _append_lines(
    lines: jsonlines.Writer, labels: Sequence[str], members: Sequence[str], ids: Sequence[str], soft: SoftLabels
) -> None:
    for row in to_arrow(ids, soft, labels, members).to_pylist():
        row["probabilities"] = dict(zip(labels, row["probabilities"], strict=True))
        row["votes"] = dict(zip(members, row["votes"], strict=True))
        lines.write(row)


def _parquet_writer(path: Path, labels: Sequence[str], members: Sequence[str]) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetWriter(path, soft_label_schema(labels, members))


def write_soft_labels(
    paths: Sequence[Path],
    ids: Any,
    scores: Mapping[str, Array],
    weights: Array,
    labels: Sequence[str],
    bias: Array | float = 0.0,
) -> None:
    """Merge score arrays, which may be memory maps, and write the result in constant memory.

    Parameters
    ----------
    paths : files to write, .parquet or .jsonl
    ids : sequence of str that can be sliced
    scores : member -> array of shape (rows, L)
    weights : shape (members,)
    labels : the task's labels
    bias : shape (L,), added to the merged scores
    """
    members = list(scores)
    with ExitStack() as stack:
        writers = [stack.enter_context(writing_soft_labels(path, labels, members)) for path in paths]
        for start in range(0, len(ids), MERGE_ROWS):
            stop = min(start + MERGE_ROWS, len(ids))
            soft = make_soft_labels([scores[m][start:stop] for m in members], weights, bias)
            chunk = list(ids[start:stop])
            for append in writers:
                append(chunk, soft)
