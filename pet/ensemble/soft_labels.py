"""Soft labels: what the ensemble says of each text of the pool, and the files that it is written to.

Parquet and JSONL hold the same rows; `pet.ensemble.soft_label_files` reads them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonlines
import numpy as np
from numpy.typing import NDArray

from pet.ensemble.merge import merge_scores, softmax
from pet.errors import PetError

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

    `bias`, of shape (L,), is added to the merged scores; see `pet.ensemble.merge.prior_correction`.
    """
    votes = np.stack([np.asarray(s).argmax(axis=1) for s in scores], axis=1)
    return SoftLabels(softmax(merge_scores(scores, weights) + bias), votes)


def soft_label_schema(labels: Sequence[str]) -> pa.Schema:
    """Columns of the Parquet file; the labels' order stands in its metadata."""
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
    return pa.schema(columns, metadata={"labels": json.dumps(list(labels), ensure_ascii=False)})


def to_arrow(ids: Sequence[str], soft: SoftLabels, labels: Sequence[str], members: Sequence[str]) -> pa.Table:
    """Soft labels as an Arrow table with the columns of `soft_label_schema`."""
    import pyarrow as pa

    names = np.asarray(labels, dtype=object)
    width, voters = soft.probabilities.shape[1], soft.votes.shape[1]
    rows = len(ids)
    schema = soft_label_schema(labels)
    schema = schema.with_metadata({**(schema.metadata or {}), b"members": json.dumps(list(members)).encode()})
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
    return pa.Table.from_arrays(arrays, schema=schema)


class SoftLabelWriter:
    """Writes soft labels chunk by chunk, as Parquet or as JSONL, by the ending of the name.

    Nothing is at `path` before `close`: the file is written beside it and then renamed.
    """

    def __init__(self, path: Path, labels: Sequence[str], members: Sequence[str]):
        self.path = Path(path)
        self.labels = list(labels)
        self.members = list(members)
        if self.path.suffix not in (".parquet", ".jsonl"):
            raise PetError(f"{path}: soft labels are written as .parquet or .jsonl; give the file one of these endings")
        self._beside = self.path.with_name(f".tmp-{self.path.name}")
        self._parquet: Any = None
        self._text: Any = None
        if self.path.suffix == ".jsonl":
            self._text = self._beside.open("w", encoding="utf-8", newline="\n")
            self._lines = jsonlines.Writer(self._text)

    def __enter__(self) -> SoftLabelWriter:
        return self

    def write(self, ids: Sequence[str], soft: SoftLabels) -> None:
        """Append rows."""
        table = to_arrow(ids, soft, self.labels, self.members)
        if self._text is not None:
            for row in table.to_pylist():
                row["probabilities"] = dict(zip(self.labels, row["probabilities"], strict=True))
                row["votes"] = dict(zip(self.members, row["votes"], strict=True))
                self._lines.write(row)
            return
        if self._parquet is None:
            import pyarrow.parquet as pq

            self._parquet = pq.ParquetWriter(self._beside, table.schema)
        self._parquet.write_table(table)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._text is None and self._parquet is None:
            self.write([], SoftLabels(np.zeros((0, len(self.labels))), np.zeros((0, len(self.members)), dtype=int)))
        for file in (self._text, self._parquet):
            if file is not None:
                file.close()
        if kind is None:
            self._beside.replace(self.path)
        else:
            self._beside.unlink(missing_ok=True)


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
    from contextlib import ExitStack

    members = list(scores)
    with ExitStack() as stack:
        writers = [stack.enter_context(SoftLabelWriter(path, labels, members)) for path in paths]
        for start in range(0, len(ids), MERGE_ROWS):
            stop = min(start + MERGE_ROWS, len(ids))
            soft = make_soft_labels([scores[m][start:stop] for m in members], weights, bias)
            chunk = list(ids[start:stop])
            for writer in writers:
                writer.write(chunk, soft)
