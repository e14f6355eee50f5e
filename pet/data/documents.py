"""Read unlabeled text as documents, from text files, JSON lines and the hub."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pet.data.columns import same_columns, some, two_columns
from pet.data.hub import open_hub
from pet.data.text_file import START_BYTES, WrongText, marked_encoding, refuse_wide
from pet.errors import PetError
from pet.spelling import compose

_RECORDS = {".jsonl", ".ndjson"}
_OPENERS: dict[str, Any] = {".xz": lzma.open, ".gz": gzip.open}


def read_documents(sources: Sequence[str], fields: Sequence[str] = (), document: str = "line") -> list[str]:
    """Read all documents of several sources, in order; each is one line and not empty.

    Parameters
    ----------
    sources : sequence of str
        Text files, JSON-lines files (``.jsonl``), both also as ``.xz`` or ``.gz``, or hub data sets
        (``hub:OWNER/NAME[:CONFIG][@SPLIT]``).
    fields : sequence of str
        Fields of a JSON object or hub row that are joined into one document.
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
    """Read all strings in the records of a JSON-lines file, whatever their fields, or the lines of a text file."""
    if _kind(Path(path)) not in _RECORDS:
        return read_documents([path])
    with _opened(path) as stream:
        return [text for _, record in _records(stream, path) for text in _strings(record)]


def read_lines(path: str) -> list[tuple[int, str]]:
    """Read the lines of a text file, also ``.xz`` or ``.gz``, with their numbers, counted from 1.

    Raises
    ------
    PetError
        If it cannot be read.
    """
    with _opened(path) as stream:
        return list(enumerate(stream, start=1))


def _read(source: str, fields: Sequence[str], document: str) -> Iterator[str]:
    if source.startswith("hub:"):
        yield from _read_hub(source, fields)
        return
    with _opened(source) as stream:
        if _kind(Path(source)) not in _RECORDS:
            yield from _split(stream, document)
            return
        if not fields:
            raise PetError(f"{source}: name the field of its records that contains the text, as in --field text")
        for where, record in _records(stream, source, fields):
            if not isinstance(record, dict):
                raise PetError(f'{where}: is not a JSON object; each line must be one, as in {{"text": ...}}')
            yield _join(record, where, fields)


def _kind(path: Path) -> str:
    return Path(path.stem).suffix if path.suffix in _OPENERS else path.suffix


@contextmanager
def _opened(source: str) -> Iterator[Iterable[str]]:
    """Open a text file, decompressed."""
    path = Path(source)
    if path.is_dir():
        raise PetError(f"{source}: is a folder; name the files in it")
    if not path.is_file():
        raise PetError(f"{source}: no such file; check the path")
    try:
        opener = _OPENERS.get(path.suffix, open)
        with opener(path, "rb") as raw, io.TextIOWrapper(raw, encoding=_encoding(raw)) as stream:
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
    except (lzma.LZMAError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise PetError(
            f"{source}: is truncated or not a {path.suffix} file ({error}); download or compress it again"
        ) from None


def _encoding(raw: IO[bytes]) -> str:
    """Return the encoding that a byte order mark names, else UTF-8."""
    start = raw.read(START_BYTES)
    raw.seek(0)
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


def _read_hub(source: str, fields: Sequence[str]) -> Iterator[str]:
    rows: Any = open_hub(source, "text").dataset
    if not fields:
        raise PetError(f"{source}: name the column that contains the text, as in --field {rows.column_names[0]}")
    for number, row in enumerate(rows, start=1):
        yield _join(row, f"{source}, row {number}", fields)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)
