"""Detect the encoding of a text file, and the delimiter and quoting of a CSV or TSV file."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from pet.data.delimited import Dialect
from pet.data.dialect import DEFAULT_DELIMITERS, find_delimiter, scan, shown
from pet.data.quoting import choose_quoting, weigh, weigh_regular
from pet.data.table_format import TableFormat
from pet.data.text_file import (
    START_BYTES,
    WrongText,
    check_encoding,
    eight_bit_encoding,
    is_in,
    is_utf8_beyond_ascii,
    marked_encoding,
    open_bytes,
    refuse_wide,
)


@dataclass(frozen=True)
class Detected:
    """How to read a text file.

    Attributes
    ----------
    encoding : str
        Python's name of its encoding.
    dialect : Dialect or None
        How a CSV or TSV file separates columns and rows; None for JSON lines.
    notices : tuple of str
        What the user needs to know, because the name of the file suggests something else.
    """

    encoding: str
    dialect: Dialect | None = None
    notices: tuple[str, ...] = ()


def detect(path: Path, kind: str, given: TableFormat) -> Detected:
    """Find out how to read a text file. CSV and TSV files are read as a whole, once in a process, in constant memory.

    Parameters
    ----------
    path : Path
    kind : {"json", "csv", "tsv"}
    given : TableFormat
        What the user has set, which is not detected.

    Raises
    ------
    WrongText
        If the file cannot be read, or can be read in two ways that give different rows.
    OSError, BrokenFile
        If the file cannot be opened or decompressed.
    """
    state = os.stat(path)
    return _detect(Path(os.path.abspath(path)), kind, given, (state.st_size, state.st_mtime_ns, state.st_ino))


@lru_cache(maxsize=64)
def _detect(path: Path, kind: str, given: TableFormat, _state: tuple[int, ...]) -> Detected:
    with open_bytes(path) as file:
        start = file.read(START_BYTES)
    marked = marked_encoding(start)
    if given.encoding is None and marked is None:
        refuse_wide(start)
    if given.encoding and marked and not given.encoding.startswith(marked):
        raise WrongText(
            f"begins with the mark of {marked}, but --encoding is {given.encoding}; leave --encoding out", 1
        )
    encoding = given.encoding or marked or "utf-8"
    if kind == "json" and encoding != "utf-8" and b"\0" not in start and is_in(path, "utf-8"):
        encoding = "utf-8"  # JSON is UTF-8; the option may apply to another input
    if encoding != "utf-8":
        check_encoding(path, encoding)
    notices = () if encoding == (given.encoding or "utf-8") else (f"its encoding is {encoding}",)
    if not encoding.startswith("utf") and given.encoding and b"\0" not in start and is_utf8_beyond_ascii(path):
        notices = (f"it is UTF-8, but is read as {encoding}, as --encoding says",)
    found = Detected(encoding, notices=notices)
    if kind not in DEFAULT_DELIMITERS:
        return found
    try:
        return _delimited(path, kind, given, found)
    except UnicodeDecodeError:
        if given.encoding is not None:
            check_encoding(path, encoding)
        encoding = eight_bit_encoding(path)
    return _delimited(path, kind, given, Detected(encoding, notices=(f"its encoding seems to be {encoding}",)))


def _delimited(path: Path, kind: str, given: TableFormat, found: Detected) -> Detected:
    """Add the dialect of a CSV or TSV file."""
    delimiter = given.delimiter or find_delimiter(path, found.encoding, kind)
    notices = list(found.notices)
    if given.delimiter is None and delimiter != DEFAULT_DELIMITERS[kind]:
        notices.append(f"its columns are separated by {shown(delimiter)}")
    seen = scan(path, found.encoding, delimiter)
    simple = not seen.lone_cr
    if given.quoting == "none" or not seen.quotes:
        dialect = Dialect(delimiter, quoted=False, spans=False, arrow=simple)
    elif given.quoting is not None:
        dialect = Dialect(delimiter, arrow=simple and seen.regular)
    elif seen.regular and not seen.spans:
        dialect = Dialect(delimiter, spans=False, arrow=simple)
    else:
        evidence = weigh_regular(path, found.encoding, delimiter) if seen.regular and simple else None
        evidence = evidence or weigh(path, found.encoding, delimiter)
        quoted, notice = choose_quoting(evidence, delimiter)
        dialect = Dialect(delimiter, quoted, spans=quoted, arrow=simple and not (quoted and evidence.mistake))
        notices += [notice] if notice else []
    return replace(found, dialect=dialect, notices=tuple(notices))
