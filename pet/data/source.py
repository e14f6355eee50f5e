"""A table that has not been read yet: its files or hub data set, its format and its columns."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pet.data.compressed import BrokenFile
from pet.data.delimited import Dialect, split_records
from pet.data.ipc import ipc_batches, read_ipc_schema
from pet.data.only import Only
from pet.data.pick import pick_columns
from pet.data.text_file import BOM, open_bytes
from pet.store.spreadsheet import unquoted

if TYPE_CHECKING:
    import datasets

TEXT_SUFFIXES = {
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
}
ROWS_AT_ONCE = 4096


class Unsound(Exception):
    """The fast path met something it cannot handle; the row-by-row reader has to decide."""


class Unreadable(Exception):
    """A table that cannot be opened; the message says what is wrong with it and ends with the cure."""


@dataclass(frozen=True)
class Source:
    """One table that has not been read yet; `pet.data.open_source.open_source` makes it.

    Parameters
    ----------
    kind : {"json", "csv", "tsv", "parquet", "arrow", "hub", "sheet", "database", "texts", "memory"}
    shown : str
        What messages call it.
    paths : tuple of Path
        One file, the shards of a folder sorted by name, or the text files of a folder; empty for a hub data set.
    dataset : datasets.Dataset, optional
        The rows, if they have been loaded: those of a hub data set, a spreadsheet, a database or text files.
    class_names : mapping of str to tuple of str
        Columns whose integers stand for names (`datasets.ClassLabel`).
    encoding : str
        Of a text file.
    dialect : Dialect, optional
        How a CSV or TSV file separates columns and rows.
    numbers : sequence of int
        Number of each row in a spreadsheet, which has a header and may have blank rows.
    only : Only, optional
        Read only these rows. Row numbers, which are the ids of tables without ids, still count all rows.
    """

    kind: str
    shown: str
    paths: tuple[Path, ...] = ()
    dataset: datasets.Dataset | None = None
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    encoding: str = "utf-8"
    dialect: Dialect | None = None
    numbers: Sequence[int] = ()
    only: Only | None = None

    @property
    def unit(self) -> str:
        return {"json": "line", "csv": "line", "tsv": "line", "texts": "file"}.get(self.kind, "row")

    def number(self, place: tuple[int, int]) -> str:
        """Return the line or row of a place as a person finds it: in a spreadsheet with its header; or a file."""
        if self.kind == "texts":
            return str(self.paths[place[1] - 1])
        return str(self.numbers[place[1] - 1] if self.numbers else place[1])

    def where(self, place: tuple[int, int]) -> str:
        """Return ``file:line`` for a text file, ``file: row N`` otherwise; `place` is (file, line from 1).

        Rows of values in memory are counted from 0, as Python counts them.
        """
        if self.kind == "memory":
            return f"row {place[1]} (counted from 0)"
        if self.kind == "texts":
            return self.number(place)
        shown = str(self.paths[place[0]]) if len(self.paths) > 1 else self.shown
        return f"{shown}:{place[1]}" if self.unit == "line" else f"{shown}: row {self.number(place)}"


def arrow_schema(source: Source) -> pa.Schema | None:
    """Return the schema of a table; None for a text file, which has none."""
    if source.dataset is not None:
        return source.dataset.features.arrow_schema
    if source.kind == "parquet":
        return pq.read_schema(source.paths[0])
    return read_ipc_schema(source.paths[0]) if source.kind == "arrow" else None


def column_names(source: Source) -> list[str] | None:
    """Return the names of the columns.

    For JSON lines these are the keys of the first line, or None if the line is not an object.
    """
    schema = arrow_schema(source)
    if schema is not None:
        return list(schema.names)
    try:
        if source.dialect is None:
            return _first_keys(source)
        return _csv_header(source, source.dialect)
    except (UnicodeDecodeError, BrokenFile):
        return None


def arrow_batches(source: Source, columns: list[str]) -> Iterator[tuple[tuple[int, int], pa.RecordBatch]]:
    """Yield batches of a table that is not a text file, each with its place: (file, number of its first row from 1)."""
    if source.dataset is not None:
        picked = pick_columns(source.dataset, columns).with_format("arrow")
        row = 1
        for table in picked.iter(batch_size=ROWS_AT_ONCE):
            for batch in table.to_batches():
                yield (0, row), batch
                row += batch.num_rows
        return
    for number, path in enumerate(source.paths):
        row = 1
        for batch in _file_batches(source.kind, path, columns):
            yield (number, row), batch
            row += batch.num_rows


def _file_batches(kind: str, path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    if kind == "arrow":
        yield from ipc_batches(path, columns, ROWS_AT_ONCE)
        return
    with pq.ParquetFile(path, pre_buffer=False) as file:
        yield from file.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns)


def _first_keys(source: Source) -> list[str] | None:
    with open_bytes(source.paths[0], source.encoding) as file:
        for number, line in enumerate(file):
            line = line.removeprefix(BOM) if number == 0 else line
            if line.strip():
                try:
                    record: Any = json.loads(line.decode("utf-8"))
                except (ValueError, RecursionError):  # a ValueError: also not UTF-8, or a very long number
                    return None
                return list(record) if isinstance(record, dict) else None
    return None


def _csv_header(source: Source, dialect: Dialect) -> list[str] | None:
    with (
        open_bytes(source.paths[0], source.encoding) as file,
        io.TextIOWrapper(file, "utf-8-sig", newline="\n") as lines,
    ):
        first = next(split_records(lines, dialect), None)
        return list(map(unquoted, first.values)) if first is not None and first.values else None


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or the name of its class."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
