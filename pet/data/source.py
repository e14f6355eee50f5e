"""A table that has not been read yet: its files or hub data set, its format and its columns."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pet.data.delimited import Dialect, split_records
from pet.data.pick import pick_columns
from pet.data.text_file import BOM, BROKEN_GZIP, open_bytes
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


@dataclass(frozen=True)
class Source:
    """One table that has not been read yet; `pet.data.open_source.open_source` makes it.

    Parameters
    ----------
    kind : {"json", "csv", "tsv", "parquet", "hub", "memory"}
    shown : str
        What messages call it.
    paths : tuple of Path
        One file, or the shards of a Parquet folder sorted by name; empty for a hub data set.
    dataset : datasets.Dataset, optional
        The loaded hub data set.
    class_names : mapping of str to tuple of str
        Columns whose integers stand for names (`datasets.ClassLabel`).
    encoding : str
        Of a text file.
    dialect : Dialect, optional
        How a CSV or TSV file separates columns and rows.
    """

    kind: str
    shown: str
    paths: tuple[Path, ...] = ()
    dataset: datasets.Dataset | None = None
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    encoding: str = "utf-8"
    dialect: Dialect | None = None

    @property
    def unit(self) -> str:
        return "line" if self.kind in ("json", "csv", "tsv") else "row"

    def where(self, place: tuple[int, int]) -> str:
        """Return ``file:line`` for a text file, ``file: row N`` otherwise; `place` is (file, line from 1).

        Rows of values in memory are counted from 0, as Python counts them.
        """
        if self.kind == "memory":
            return f"row {place[1]} (counted from 0)"
        shown = str(self.paths[place[0]]) if len(self.paths) > 1 else self.shown
        return f"{shown}:{place[1]}" if self.unit == "line" else f"{shown}: row {place[1]}"


def column_names(source: Source) -> list[str] | None:
    """Return the names of the columns.

    For JSON lines these are the keys of the first line, or None if the line is not an object.
    """
    if source.dataset is not None:
        return list(source.dataset.column_names)
    if source.kind == "parquet":
        return list(pq.read_schema(source.paths[0]).names)
    try:
        if source.dialect is None:
            return _first_keys(source)
        return _csv_header(source, source.dialect)
    except (UnicodeDecodeError, *BROKEN_GZIP):
        return None


def arrow_batches(source: Source, columns: list[str]) -> Iterator[tuple[tuple[int, int], pa.RecordBatch]]:
    """Yield batches of a Parquet or hub table, each with its place: (file, number of its first row from 1)."""
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
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns):
                yield (number, row), batch
                row += batch.num_rows


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
