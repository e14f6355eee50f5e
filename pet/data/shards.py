"""Split a Parquet table into shards that can be read independently."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pet.data.columns import Layout, canonical
from pet.data.problems import Problems
from pet.data.row_reader import plain_rows, walk
from pet.data.rows import column_values
from pet.data.source import ROWS_AT_ONCE, Source, Unsound
from pet.data.spill import dataset_of
from pet.errors import PetError

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True)
class Shard:
    """Consecutive rows of a table.

    Attributes
    ----------
    number : of the shard, from 0
    first : number of its first row in the table, from 0
    pieces : for each Parquet file that holds a part of it: path, first row in the file, rows
    """

    number: int
    first: int
    pieces: list[tuple[str, int, int]]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def cut_rows(paths: Iterable[Path], rows: int) -> list[Shard]:
    """Return shards with this number of rows, which may extend over several files; only the files' footers are read."""
    shards: list[Shard] = []
    first = taken = 0
    pieces: list[tuple[str, int, int]] = []
    for path in paths:
        start, count = 0, _rows_in(path)
        while start < count:
            part = min(rows - taken, count - start)
            pieces.append((str(path), start, part))
            start, taken = start + part, taken + part
            if taken == rows:
                shards.append(Shard(len(shards), first, pieces))
                first, taken, pieces = first + taken, 0, []
    if pieces:
        shards.append(Shard(len(shards), first, pieces))
    return shards


def cut_files(paths: Iterable[Path]) -> list[Shard]:
    """Return one shard per file."""
    shards: list[Shard] = []
    first = 0
    for number, path in enumerate(paths):
        count = _rows_in(path)
        shards.append(Shard(number, first, [(str(path), 0, count)]))
        first += count
    return shards


def read_shard(shard: Shard, source: Source, layout: Layout, name: str) -> datasets.Dataset:
    """Read the rows of a shard, in the form of `pet.data.read.read_table`.

    Raises
    ------
    PetError
        Naming the rows of the shard's files that have no text or other mistakes.
    """
    batches: list[pa.RecordBatch] = []
    row = shard.first
    try:
        for path, start, count in shard.pieces:
            for raw in _raw_batches(Path(path), start, count, layout.file_columns):
                batches.append(canonical(raw, layout, source, row))
                row += raw.num_rows
    except (Unsound, pa.ArrowException) as error:
        _name_mistakes(shard, source, layout, name)
        raise PetError(f"{name}: {shard.pieces[0][0]}: cannot be read ({error})") from error
    return dataset_of(batches, layout.schema)


def read_shard_values(shard: Shard, source: Source, columns: list[str]) -> dict[str, list[Any]]:
    """Read further columns of a shard, as they are: column -> values."""
    rows: list[dict[str, Any]] = []
    for path, start, count in shard.pieces:
        for raw in _raw_batches(Path(path), start, count, columns):
            rows += plain_rows(raw, source)
    return column_values(rows, columns)


def _rows_in(path: Path) -> int:
    with pq.ParquetFile(path) as file:
        return int(file.metadata.num_rows)


def _raw_batches(path: Path, start: int, count: int, columns: list[str]) -> Iterable[pa.RecordBatch]:
    """Yield rows of a file without reading earlier row groups."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        group = 0
        while start >= (rows := file.metadata.row_group(group).num_rows):
            start, group = start - rows, group + 1
        groups = range(group, file.metadata.num_row_groups)
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, row_groups=list(groups), columns=columns):
            part = batch.slice(start, count)
            start, count = max(0, start - batch.num_rows), count - part.num_rows
            if part.num_rows:
                yield part
            if not count:
                return


def _name_mistakes(shard: Shard, source: Source, layout: Layout, name: str) -> None:
    for path, _, _ in shard.pieces:
        problems = Problems(replace(source, shown=path, paths=(Path(path),)), name)
        for _ in walk(problems.source, layout, problems):
            pass
        problems.raise_if_any()
