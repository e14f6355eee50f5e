"""Where a table comes from: which files or hub data set, in which format, with which columns."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pet.errors import PetError

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
    """The fast path met something that it cannot vouch for; the walk through the lines decides."""


@dataclass(frozen=True)
class Source:
    """One table, not read yet.

    Parameters
    ----------
    kind : {"json", "csv", "tsv", "parquet", "hub"}
    shown : str
        What messages call it.
    paths : tuple of Path
        One file, or the shards of a Parquet folder in the order of their names; empty for the hub.
    dataset : datasets.Dataset, optional
        The loaded data set of the hub.
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
        """`file:line` of a text file, `file: row N` of the others; `place` is (file, line from 1)."""
        shown = str(self.paths[place[0]]) if len(self.paths) > 1 else self.shown
        return f"{shown}:{place[1]}" if self.unit == "line" else f"{shown}: row {place[1]}"


def open_source(source: str | os.PathLike[str], name: str) -> Source:
    """Find out what `source` is, without reading its rows.

    Raises
    ------
    PetError
        If there is no such file, it cannot be opened, is empty, or is of a kind that is not read.
    """
    text = os.fspath(source)
    if text.startswith("hub:"):
        from pet.data.hub import open_hub

        return open_hub(text, name)
    path = Path(text).expanduser()
    if not path.exists():
        raise PetError(f"{name}: {text}: no such file; check the path (a hub data set is written hub:OWNER/NAME)")
    if path.is_dir():
        return _open_folder(path, name)
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    plain = suffixes[0] if suffixes[-1:] == [".gz"] else suffixes[-1] if suffixes else ""
    if suffixes[-1:] == [".parquet"]:
        return _open_parquet((path,), text, name)
    if plain not in TEXT_SUFFIXES:
        raise PetError(
            f"{name}: {text}: the kind of file is told from its name, and {path.suffix or 'no suffix'} says "
            "nothing; name it .jsonl, .csv, .tsv (each also with .gz) or .parquet"
        )
    found = Source(TEXT_SUFFIXES[plain], text, (path,))
    _look_at_first_bytes(found, name)
    return found


def open_bytes(path: Path) -> IO[bytes]:
    """The bytes of a file, unpacked where its name ends in `.gz`."""
    if path.suffix.lower() == ".gz":
        return io.BufferedReader(gzip.open(path, "rb"))  # type: ignore[arg-type]
    return open(path, "rb")


def column_names(source: Source) -> list[str] | None:
    """Columns of the table; of JSON lines those of the first line, None if that is not an object."""
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
    """Batches of a Parquet or hub table, each with its place: (file, row of its first row from 1)."""
    if source.dataset is not None:
        picked = source.dataset.select_columns(columns).with_format("arrow")
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


def _look_at_first_bytes(source: Source, name: str) -> None:
    shown = source.shown
    try:
        with open_bytes(source.paths[0]) as file:
            start = file.read(4096)
    except BROKEN_GZIP:
        raise PetError(
            f"{name}: {shown}: is named .gz but is not a whole gzip file; unpack it or fetch it again"
        ) from None
    except OSError as error:
        raise PetError(f"{name}: {shown}: cannot be opened ({error.strerror}); check the permissions") from None
    if start.startswith(WIDE_BOMS):
        raise PetError(f"{name}: {shown}: is UTF-16; save it as UTF-8 (iconv -f UTF-16 -t UTF-8)")
    if not start.removeprefix(BOM).strip() and len(start) < 4096:
        raise PetError(f"{name}: {shown}: is empty; it needs at least one example")


def _open_folder(path: Path, name: str) -> Source:
    shards = tuple(sorted(path.glob("*.parquet")))
    if not shards:
        raise PetError(
            f"{name}: {path}: is a folder without *.parquet files; name a file, or a folder of Parquet shards"
        )
    return _open_parquet(shards, str(path), name)


def _open_parquet(paths: tuple[Path, ...], shown: str, name: str) -> Source:
    schemas, rows = [], 0
    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                schemas.append(file.schema_arrow)
                rows += file.metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            raise PetError(
                f"{name}: {path}: is not a whole Parquet file ({first_line(error)}); write or fetch it again"
            ) from None
        if schemas[-1].names != schemas[0].names:
            raise PetError(
                f"{name}: {path}: has the columns {', '.join(schemas[-1].names)} where {paths[0].name} has "
                f"{', '.join(schemas[0].names)}; the shards of a folder must have the same columns"
            )
    if not rows:
        raise PetError(f"{name}: {shown}: is empty; it needs at least one example")
    return Source("parquet", shown, paths, class_names=_names_in_schema(schemas[0]))


def _names_in_schema(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Names of integer classes, which `datasets` leaves in the metadata of the Parquet files it writes."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            column: tuple(str(name) for name in feature["names"])
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
        }
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}  # not written by `datasets`, or by a version with another layout: integers stay integers


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
    """The first line of what an exception says, or its name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
