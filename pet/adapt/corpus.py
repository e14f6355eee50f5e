"""Unlabeled text: reading it, leaving out what overlaps with other files, holding some back."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pet.errors import PetError

DOCUMENTS = ("line", "blank", "file")
_RECORDS = {".jsonl", ".ndjson"}
_OPENERS: dict[str, Any] = {".xz": lzma.open, ".gz": gzip.open}
_WORD = re.compile(r"[^\W_]+")


def read_documents(sources: Sequence[str], fields: Sequence[str] = (), document: str = "line") -> list[str]:
    """All documents of several sources, in order, each on one line and never empty.

    Parameters
    ----------
    sources : sequence of str
        Text files, JSON-lines files (``.jsonl``), both also as ``.xz`` or ``.gz``, or hub sets
        (``hub:OWNER/NAME[:CONFIG][@SPLIT]``).
    fields : sequence of str
        The fields of a JSON object or hub row that are joined into one document.
    document : {"line", "blank", "file"}
        What a document of a text file is: one line, what stands between blank lines, or the whole file.

    Raises
    ------
    PetError
        Naming the source, and the line where there is one.
    """
    found: list[str] = []
    for source in sources:
        before = len(found)
        for text in _read(source, fields, document):
            text = " ".join(text.split())
            if text:
                found.append(text)
        if len(found) == before:
            raise PetError(f"{source}: there is no text in it; name a file with at least one document")
    return found


def _read(source: str, fields: Sequence[str], document: str) -> Iterator[str]:
    if source.startswith("hub:"):
        yield from _read_hub(source, fields)
        return
    path = Path(source)
    if path.is_dir():
        raise PetError(f"{source}: is a folder; name the files in it")
    if not path.is_file():
        raise PetError(f"{source}: there is no such file; check the path")
    compressed = path.suffix in _OPENERS
    kind = Path(path.stem).suffix if compressed else path.suffix
    try:
        opener = _OPENERS.get(path.suffix, open)
        with opener(path, "rb") as raw, io.TextIOWrapper(raw, encoding="utf-8-sig") as stream:
            if kind in _RECORDS:
                yield from _records(stream, source, fields)
            else:
                yield from _split(stream, document)
    except UnicodeDecodeError as error:
        raise PetError(
            f"{source}: is not UTF-8 text (byte {error.object[error.start]:#x}, {error.reason}); "
            "convert it first (`iconv -t utf-8`)"
        ) from None
    except (lzma.LZMAError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise PetError(f"{source}: is cut off or not a {path.suffix} file ({error}); fetch it again") from None


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


def _records(stream: Iterable[str], source: str, fields: Sequence[str]) -> Iterator[str]:
    if not fields:
        raise PetError(f"{source}: say which field of its records holds the text, as in --field text")
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise PetError(f"{source}, line {number}: is not JSON ({error}); mend or remove the line") from None
        if not isinstance(record, dict):
            raise PetError(f'{source}, line {number}: is not a JSON object; each line needs one, as {{"text": ...}}')
        yield _join(record, f"{source}, line {number}", fields)


def _join(record: dict[str, object], where: str, fields: Sequence[str]) -> str:
    parts = []
    for field in fields:
        if field not in record:
            raise PetError(
                f"{where}: has no field {field!r}, only {', '.join(map(repr, record))}; choose --field among them"
            )
        value = record[field]
        if value is not None and not isinstance(value, str):
            raise PetError(f"{where}: field {field!r} is not text but {type(value).__name__}; choose another --field")
        parts.append(value or "")
    return " ".join(parts)


def _read_hub(source: str, fields: Sequence[str]) -> Iterator[str]:
    from pet.data.hub import open_hub

    rows: Any = open_hub(source, "text").dataset
    if not fields:
        raise PetError(f"{source}: say which column holds the text, as in --field {rows.column_names[0]}")
    for number, row in enumerate(rows):
        yield _join(row, f"{source}, row {number}", fields)


def word_ngrams(text: str, size: int) -> set[int]:
    """Hashes of all runs of `size` words, whatever their case, punctuation and spacing."""
    words = _WORD.findall(text.lower())
    return {hash(tuple(words[i : i + size])) for i in range(len(words) - size + 1)}


def drop_overlapping(documents: Sequence[str], others: Iterable[str], size: int) -> tuple[list[str], int]:
    """The documents that share no run of `size` words with any of the other texts.

    Returns
    -------
    kept : list of str
    dropped : int
        How many were left out.
    """
    forbidden: set[int] = set()
    for text in others:
        forbidden |= word_ngrams(text, size)
    kept = (
        [text for text in documents if forbidden.isdisjoint(word_ngrams(text, size))] if forbidden else list(documents)
    )
    return kept, len(documents) - len(kept)


def read_strings(path: str) -> list[str]:
    """The texts of a file whose form does not matter: all strings of its JSON records, or its lines."""
    if Path(path).suffix not in _RECORDS:
        return read_documents([path])
    texts: list[str] = []
    with open(path, encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise PetError(f"{path}, line {number}: is not JSON ({error}); mend or remove the line") from None
            texts += _strings(record)
    return texts


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def read_repeats(repeats: Sequence[str], sources: Sequence[str], **how: Any) -> dict[str, int]:
    """How often each document is read in a pass, for those of the sources that are given as ``SOURCE=N``.

    Parameters
    ----------
    repeats : sequence of str
    sources : sequence of str
        Of the whole text; a repeated source is one of them.
    how : further arguments of `read_documents`

    Raises
    ------
    PetError
        If one is written otherwise, or names something that is no source.
    """
    times: dict[str, int] = {}
    for repeat in repeats:
        source, _, number = repeat.rpartition("=")
        if not number.isdecimal() or int(number) < 1:
            raise PetError(f"--repeat {repeat}: write SOURCE=N with a whole number N, as in --repeat news.txt=5")
        if source not in sources:
            raise PetError(f"--repeat {repeat}: {source or 'nothing'} is no --text of this command; name it there, too")
        times |= dict.fromkeys(read_documents([source], **how), int(number))
    return times


def hold_out(documents: Sequence[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """Split into (training, held-out) documents at random; at least one document on each side.

    Raises
    ------
    PetError
        If there are fewer than two documents.
    """
    if len(documents) < 2:
        raise PetError(
            f"the text has {len(documents)} document, and one must be held out to evaluate on; give more "
            "text, or choose --document so that the file has several"
        )
    order = np.random.default_rng([seed, 1]).permutation(len(documents))
    count = min(max(1, round(share * len(documents))), len(documents) - 1)
    held = np.sort(order[:count])
    rest = np.sort(order[count:])
    return [documents[i] for i in rest], [documents[i] for i in held]
