"""Read unlabeled text as documents, from text files and from every kind of table."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pet.data.columns import Layout, same_columns, some, two_columns
from pet.data.compressed import COMPRESSED, BrokenFile, open_unpacked
from pet.data.open_source import ARROW_SUFFIXES, open_source
from pet.data.problems import Problems
from pet.data.row_reader import records
from pet.data.saved_dataset import SPLITS, STATE
from pet.data.source import Source, column_names
from pet.data.source_names import DATABASES, HUB, LABELED, SHEETS, STANDARD_INPUT, UNLABELED, file_of
from pet.data.text_file import START_BYTES, WrongText, marked_encoding, refuse_wide
from pet.data.text_folder import text_files
from pet.errors import PetError
from pet.spelling import compose
from pet.store.tree import check_inside

_RECORDS = (".jsonl", ".ndjson")
_TABLES = (".csv", ".tsv", ".parquet", *ARROW_SUFFIXES, *SHEETS)
_PREFIXES = (HUB, *DATABASES, LABELED, UNLABELED)
_SAVED = (STATE, SPLITS)
_INPUT = "text"  # what messages call a table


def read_documents(sources: Sequence[str], fields: Sequence[str] = (), document: str = "line") -> list[str]:
    """Read all documents of several sources, in order; each is one line and not empty.

    Parameters
    ----------
    sources : sequence of str
        Text files, which may be compressed, folders of them, or tables, as for `pet.data.open_source.open_source`.
    fields : sequence of str
        Columns of a table that are joined into one document for each row.
    document : {"line", "blank", "file"}
        What counts as one document of a text file: a line, the text between blank lines, or the file.

    Raises
    ------
    PetError
        Naming the source and, if possible, the line.
    """
    found: list[str] = []
    for source in sources:
        documents = [text for raw in _read(source, fields, document) if (text := compose(" ".join(raw.split())))]
        if not documents:
            raise PetError(f"{source}: contains no text; name a file with at least one document")
        found += documents
    return found


def read_strings(path: str) -> list[str]:
    """Read all texts in a table, whatever their columns, or the lines of a text file."""
    if _is_table(path):
        opened = open_source(path, _INPUT)
        return [text for _, row in _rows(opened, column_names(opened) or ()) for text in _strings(row)]
    if not path.lower().endswith(_endings(_RECORDS)):
        return read_documents([path])
    with _opened(path) as stream:
        return [text for _, record in _records(stream, path) for text in _strings(record)]


def read_lines(path: str) -> list[tuple[int, str]]:
    """Read the lines of a text file, which may be compressed, with their numbers, counted from 1.

    Raises
    ------
    PetError
        If it cannot be read.
    """
    with _opened(path) as stream:
        return list(enumerate(stream, start=1))


def _read(source: str, fields: Sequence[str], document: str) -> Iterator[str]:
    if files := _files_in(source):
        for file in files:
            yield from _read(str(file), fields, document)
        return
    if _is_table(source):
        yield from _read_rows(open_source(source, _INPUT), source, fields)
        return
    with _opened(source) as stream:
        if not source.lower().endswith(_endings(_RECORDS)):
            yield from _split(stream, document)
            return
        if not fields:
            raise PetError(f"{source}: name the field of its records that contains the text, as in --field text")
        for where, record in _records(stream, source, fields):
            if not isinstance(record, dict):
                raise PetError(f'{where}: is not a JSON object; each line must be one, as in {{"text": ...}}')
            yield _join(record, where, fields)


def _files_in(source: str) -> list[Path]:
    """Return the text files in a folder, unless it is a folder of Parquet shards or a saved data set."""
    folder = Path(source)
    if not folder.is_dir() or any(folder.glob("*.parquet")) or any((folder / name).is_file() for name in _SAVED):
        return []
    check_inside(folder, "folder of texts")
    return text_files(folder)[0]


def _is_table(source: str) -> bool:
    """Return True for what `open_source` reads, except for JSON lines, whose records may differ."""
    place = str(file_of(source))
    table = source == STANDARD_INPUT or source.startswith(_PREFIXES) or place.lower().endswith(_endings(_TABLES))
    return table or os.path.isdir(place)


def _endings(suffixes: Sequence[str]) -> tuple[str, ...]:
    return (*suffixes, *(f"{suffix}{packed}" for suffix in suffixes for packed in COMPRESSED))


@contextmanager
def _opened(source: str) -> Iterator[Iterable[str]]:
    """Open a text file, decompressed."""
    path = Path(source)
    if not path.is_file():
        raise PetError(f"{source}: no such file; check the path")
    try:
        with open_unpacked(path) as raw, io.TextIOWrapper(raw, encoding=_encoding(raw)) as stream:
            yield stream
    except WrongText:
        raise PetError(
            f"{source}: seems to be UTF-16 without a byte order mark; convert it first (`iconv -f utf-16le -t utf-8`)"
        ) from None
    except UnicodeDecodeError as error:
        raise PetError(
            f"{source}: is not UTF-8 text (byte {error.object[error.start]:#x}, {error.reason}); "
            "convert it first (`iconv -t utf-8`)"
        ) from None
    except BrokenFile as error:
        raise PetError(f"{source}: {error}") from None


def _encoding(raw: Any) -> str:
    """Return the encoding that a byte order mark names, else UTF-8."""
    start = raw.peek(START_BYTES)[:START_BYTES]
    marked = marked_encoding(start)
    if marked is None:
        refuse_wide(start)
    return "utf-8-sig" if marked in (None, "utf-8") else marked


def _split(stream: Iterable[str], document: str) -> Iterator[str]:
    if document == "line":
        yield from stream
        return
    lines: list[str] = []
    for line in stream:
        if document == "blank" and not line.strip():
            yield " ".join(lines)
            lines = []
        else:
            lines.append(line)
    yield " ".join(lines)


def _records(stream: Iterable[str], source: str, fields: Sequence[str] = ()) -> Iterator[tuple[str, Any]]:
    """Yield each record of a JSON-lines file with its place, for messages."""
    for number, line in enumerate(stream, start=1):
        if line.strip():
            where = f"{source}, line {number}"
            try:
                hook = _unique_keys if any(line.count(f'"{field}"') > 1 for field in fields) else None
                yield where, json.loads(line, object_pairs_hook=hook)
            except (ValueError, RecursionError) as error:
                raise PetError(f"{where}: is not JSON ({error}); correct or remove the line") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a dict; raise a ValueError if a key appears twice."""
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise ValueError(f"the key {key!r} appears twice")
        made[key] = value
    return made


def _join(record: dict[str, object], where: str, fields: Sequence[str]) -> str:
    parts = []
    for field in fields:
        same = same_columns(field, record)
        if len(same) != 1:
            what = two_columns(same) if same else f"has no field {field!r}; set --field to one of {some(record)}"
            raise PetError(f"{where}: {what}")
        value = record[same[0]]
        if value is not None and not isinstance(value, str):
            raise PetError(
                f"{where}: field {field!r} contains {type(value).__name__}, not text; choose another field with --field"
            )
        parts.append(value or "")
    return " ".join(parts)


def _read_rows(opened: Source, source: str, fields: Sequence[str]) -> Iterator[str]:
    header = column_names(opened) or []
    if not fields:
        raise PetError(
            f"{source}: name the column that contains the text with --field COLUMN; its columns are {some(header)}"
        )
    missing = [field for field in fields if not same_columns(field, header)]
    if missing and opened.kind != "json":
        raise PetError(f"{source}: has no field {missing[0]!r}; set --field to one of {some(header)}")
    wanted = [column for field in fields for column in same_columns(field, header) or [field]]
    for place, row in _rows(opened, wanted):
        yield _join(row, opened.where(place), fields)


def _rows(opened: Source, columns: Sequence[str]) -> Iterator[tuple[tuple[int, int], Any]]:
    """Yield the rows of a table with their places; name every mistake at the end."""
    problems = Problems(opened, _INPUT)
    only = [] if opened.only is None else [opened.only.column]
    layout = Layout({column: column for column in [*columns, *only]}, None, None)
    for place, row in records(opened, layout, problems, numbers=True):
        if opened.only is None or opened.only(row):
            yield place, row
    problems.raise_if_any()


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)
