"""What the machines of a Ray cluster do for `pet label`: cut a table into shards, and label them."""

from __future__ import annotations

import json
import platform
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pet.data.columns import Layout
from pet.data.kept import keep_columns
from pet.data.read import iter_table
from pet.data.shards import Shard, read_shard, read_shard_values
from pet.data.source import Source
from pet.data.table_options import TableOptions
from pet.ensemble.soft_labels import writing_soft_labels
from pet.errors import PetError
from pet.inference.ensemble import open_ensemble
from pet.inference.label_file import ids_of, label_chunk
from pet.inference.options import ComputeOptions
from pet.run.execution.work import TRIES, lost_too_often
from pet.store.disk import disk_problem
from pet.store.folders import TEMPORARY, remove_quietly
from pet.store.outputs import writing_folder
from pet.store.tables import OutputColumn, arrow_array
from pet.training.memory import own_process

ABOUT = "labeling.json"  # hash of what is being labeled, and how
ATTEMPTS = "tries"  # holds an empty file for each attempt at a shard
KEPT = "keep:"  # begins the names of kept columns in the files of a table that has been cut


@dataclass(frozen=True)
class ShardWork:
    """What every worker needs to know.

    Attributes
    ----------
    run : str
        Folder of the run.
    folder : str
        Where the files of soft labels go.
    source : Source
        The Parquet files that the shards are parts of.
    layout : Layout
        Their columns.
    kept : dict of str to OutputColumn
        Column of the files -> column of the output, for the columns to keep.
    min_confidence : float
    compute : ComputeOptions
    threads : int
        Threads of a worker.
    """

    run: str
    folder: str
    source: Source
    layout: Layout
    kept: dict[str, OutputColumn] = field(default_factory=dict)
    min_confidence: float = 0.0
    compute: ComputeOptions = field(default_factory=ComputeOptions)
    threads: int = 1

    def part(self, shard: Shard) -> Path:
        return Path(self.folder) / f"part-{shard.number:05d}.parquet"


def cut_table(
    source: str, fields: Sequence[str], mapping: dict[str, str], table: TableOptions, folder: str
) -> list[str]:
    """Check a table that is not Parquet, and cut it into Parquet files of `table.chunk_rows` rows.

    Parameters
    ----------
    source, fields, mapping : of `pet.data.read.iter_table`
    table : how to read it, and the columns to keep
    folder : where the files go; it appears when all of them are written

    Returns
    -------
    list of str: mistakes, since exceptions do not travel well
    """
    place = Path(folder)
    if not place.parent.is_dir():
        return [unseen(place.parent)]
    try:
        with writing_folder(place) as beside:
            kept = keep_columns(source, table, mapping, (), typed=True)
            for number, chunk in enumerate(iter_table(source, fields, columns=mapping, **table.reading)):
                part = chunk.with_format("arrow")[:]
                for column, values in zip(kept.columns, kept.take(len(chunk)).values(), strict=True):
                    part = part.append_column(f"{KEPT}{column.name}", arrow_array(column, values))
                pq.write_table(part, beside / f"{number:05d}.parquet")
    except PetError as error:
        return error.problems
    return []


def unseen(folder: Path) -> str:
    """Return the message for a folder that this machine does not have."""
    return (
        f"{folder}: machine {platform.node()} of the Ray cluster does not have this folder; set -o to a folder on "
        "shared storage that every machine mounts at the same path"
    )


class ShardLabeler:
    """A worker that holds the ensemble and labels one shard after another."""

    def __init__(self, work: ShardWork):
        import torch

        self.work = work
        self.problems: list[str] = []
        torch.set_num_threads(work.threads)
        try:
            self._open()
        except PetError as error:  # reported for each shard: Ray would repeat forever what raises here
            self.problems = error.problems

    def _open(self) -> None:
        if not (Path(self.work.folder) / ABOUT).is_file():
            raise PetError(unseen(Path(self.work.folder)))
        compute = self.work.compute
        self.ensemble = open_ensemble(self.work.run, **compute.opening)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        with own_process():
            return {"answer": [json.dumps(self._shard(Shard(**json.loads(text)))) for text in batch["shard"]]}

    def _shard(self, shard: Shard) -> dict[str, Any]:
        try:
            if self.problems:
                raise PetError(self.problems)
            if not self.work.part(shard).is_file():
                self._label(shard)
        except PetError as error:
            return {"problems": error.problems}
        return self._count(shard)

    def _label(self, shard: Shard) -> None:
        part, mark = self.work.part(shard), f"{shard.number:05d}-{uuid.uuid4().hex}"
        attempts = part.parent / ATTEMPTS
        if len(list(attempts.glob(f"{shard.number:05d}-*"))) >= TRIES:
            raise lost_too_often(part.stem, "see Ray's log")
        (attempts / mark).touch()
        beside = part.with_name(f"{TEMPORARY}{mark}")
        try:
            beside.mkdir()
            self._write(shard, beside / part.name)
            (beside / part.name).replace(part)
        except OSError as error:
            message = disk_problem(error, f"write {part}")
            if message is None:
                raise
            raise PetError(message) from error
        finally:
            remove_quietly(beside)
        remove_quietly(attempts / mark)

    def _write(self, shard: Shard, place: Path) -> None:
        work, ensemble = self.work, self.ensemble
        columns = list(work.kept.values())
        chunk = read_shard(shard, work.source, work.layout, "input")
        several = ensemble.ensemble.independent
        with writing_soft_labels(place, ensemble.task.labels, ensemble.names, columns, independent=several) as append:
            rows, soft = label_chunk(ensemble, chunk, work.min_confidence)
            found = read_shard_values(shard, work.source, list(work.kept)) if work.kept else {}
            values = {column.name: [found[name][i] for i in rows] for name, column in work.kept.items()}
            append(ids_of(chunk, rows), soft, values)

    def _count(self, shard: Shard) -> dict[str, Any]:
        """Counts of a shard's file, even if an earlier attempt has written it."""
        import pyarrow.compute as pc

        labels, name = self.ensemble.task.labels, "labels" if self.ensemble.ensemble.independent else "label"
        column = pq.read_table(self.work.part(shard), columns=[name])[name]
        found = pc.value_counts(pc.list_flatten(column) if name == "labels" else column).to_pylist()
        counts = {row["values"]: row["counts"] for row in found}
        texts = sum(count for _, _, count in shard.pieces)
        return {"texts": texts, "written": len(column), "per_label": [counts.get(label, 0) for label in labels]}
