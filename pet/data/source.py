"""A table that has not been read yet: its files or hub data set, its format and its columns."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pet.data.pick import pick_columns

if TYPE_CHECKING:
    import datasets

TEXT_SUFFIXES = {
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
}
DELIMITERS = {"csv": ",", "tsv": "\t"}
BROKEN_GZIP = (EOFError, gzip.BadGzipFile, zlib.error)
BOM = codecs.BOM_UTF8
WIDE_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
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
    """

    kind: str
    shown: str
    paths: tuple[Path, ...] = ()
    dataset: datasets.Dataset | None = None
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

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


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading bytes; decompress it if its name ends in `.gz`."""
    if path.suffix.lower() == ".gz":
        return io.BufferedReader(gzip.open(path, "rb"))  # type: ignore[arg-type]
    return open(path, "rb")


def column_names(source: Source) -> list[str] | None:
    """Return the names of the columns.

    For JSON lines these are the keys of the first line, or None if the line is not an object.
    """
    if source.dataset is not None:
        return list(source.dataset.column_names)
    if source.kind == "parquet":
        return list(pq.read_schema(source.paths[0]).names)
    try:
        if source.kind == "json":
            return _first_keys(source.paths[0])
        return _csv_header(source.paths[0], DELIMITERS[source.kind])
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


def _first_keys(path: Path) -> list[str] | None:
    with open_bytes(path) as file:
        for number, line in enumerate(file):
            line = line.removeprefix(BOM) if number == 0 else line
            if line.strip():
                try:
                    record: Any = json.loads(line.decode("utf-8"))
                except (json.JSONDecodeError, RecursionError):
                    return None
                return list(record) if isinstance(record, dict) else None
    return None


def _csv_header(path: Path, delimiter: str) -> list[str] | None:
    with open_bytes(path) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as lines:
        try:
            return next((row for row in csv.reader(lines, delimiter=delimiter) if row), None)
        except csv.Error:
            return None


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or the name of its class."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
