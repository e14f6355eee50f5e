"""Detect the delimiter of a file, and scan its bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from pet.data.delimited import UNCLOSED, Dialect, split_records, without_break
from pet.data.quoting import BREAK, QUOTE, RETURN
from pet.data.text_file import BLOCK, BOM, WrongText, line_blocks, open_bytes

DEFAULT_DELIMITERS = {"csv": ",", "tsv": "\t"}
CANDIDATES = (",", ";", "\t", "|")
SAMPLE_BYTES = 1 << 18
SAMPLE_LINES = 1000
_HINT = re.compile('"?sep=."?', re.IGNORECASE)
_NAMES = {"\t": "a tab", " ": "a space"}


@dataclass
class Scan:
    """Result of scanning all bytes of a file.

    Attributes
    ----------
    quotes : whether it contains quotes
    regular : whether every quote encloses a value, or is doubled inside such a value
    spans : whether an enclosed value contains a line break, if the quotes are regular
    lone_cr : whether it contains a CR without LF
    lines : number of line breaks
    """

    quotes: bool = False
    regular: bool = True
    spans: bool = False
    lone_cr: bool = False
    lines: int = 0


def scan(path: Path, encoding: str, delimiter: str) -> Scan:
    """Scan every byte of a file, at about disk speed.

    Raises
    ------
    WrongText
        If it contains a NUL byte, or all its lines end in CR.
    UnicodeDecodeError
        If it is not text in its encoding.
    """
    found = Scan()
    inside = False
    with open_bytes(path, encoding) as file:
        for block in line_blocks(file, BLOCK):
            if not block.isascii():
                block.decode("utf-8")
            if b"\0" in block:
                line = found.lines + block[: block.index(b"\0")].count(b"\n") + 1
                raise WrongText(
                    "contains a NUL byte: the file is damaged, or not in this encoding; remove the byte, or give the "
                    "encoding with --encoding",
                    line,
                )
            found.lines += block.count(b"\n")
            found.lone_cr = found.lone_cr or block.count(b"\r") > block.count(b"\r\n")
            if found.regular and (inside or b'"' in block):
                found.quotes = True
                inside = _check_quotes(block, ord(delimiter), inside, found)
    found.regular = found.regular and not inside
    if found.lone_cr and not found.lines:
        raise WrongText(
            "its lines end in CR alone, as on old Macs; save it with LF or CRLF (tr '\\r' '\\n' < FILE > NEW), in a "
            "spreadsheet as CSV UTF-8"
        )
    return found


def _check_quotes(block: bytes, delimiter: int, inside: bool, found: Scan) -> bool:
    """Check the quotes in a block of whole lines; return True if a quote is open at its end."""
    data = np.frombuffer(block + b"\n", np.uint8)
    quotes = np.flatnonzero(data == QUOTE)
    # In a regular file, every second quote opens: it follows a delimiter, a line break or a quote. The others close.
    first = int(inside)
    opening, closing = quotes[first::2], quotes[1 - first :: 2]
    around = np.zeros(256, dtype=bool)
    around[[delimiter, BREAK, QUOTE]] = True
    found.regular = bool(around[np.where(opening > 0, data[opening - 1], BREAK)].all())
    around[RETURN] = True
    found.regular = found.regular and bool(around[data[closing + 1]].all())
    open_at_end = bool((len(quotes) + first) % 2)
    if not found.spans:
        breaks = np.flatnonzero(data[:-1] == BREAK)
        starts = np.concatenate([np.zeros(first, np.int64), opening])[: len(closing)]
        between = np.searchsorted(breaks, closing) - np.searchsorted(breaks, starts)
        found.spans = open_at_end or bool(between.any())
    return open_at_end


def find_delimiter(path: Path, encoding: str, kind: str) -> str:
    """Return the delimiter of a file: that of its suffix, unless its first lines only make sense with another."""
    usual = DEFAULT_DELIMITERS[kind]
    lines = _first_lines(path, encoding)
    if lines and _HINT.fullmatch(without_break(lines[0])):
        raise WrongText(
            "is a hint for Excel, not the names of the columns; remove this line (the delimiter is detected)", 1
        )
    there = [mark for mark in CANDIDATES if _widths(lines[:1], mark, quoted=True) - {0, 1}]
    even = [mark for mark in there if any(_is_table(_widths(lines, mark, quoted)) for quoted in (True, False))]
    if usual in even or (usual in there and not even):
        return usual
    if len(even) > 1:
        raise WrongText(f"its columns may be separated by {' or by '.join(map(shown, even))}; add --delimiter", 1)
    if even:
        return even[0]
    if len(there) == 1 and not _widths(lines, there[0], quoted=False) & {1}:
        return there[0]  # some lines have other numbers of columns, but all have several
    return usual


def shown(delimiter: str) -> str:
    """Return a delimiter for a message."""
    return _NAMES.get(delimiter, repr(delimiter))


def _first_lines(path: Path, encoding: str) -> list[str]:
    """Return the first lines that are not blank, without a last one that may be cut off."""
    with open_bytes(path, encoding) as file:
        start = file.read(SAMPLE_BYTES)
    if len(start) == SAMPLE_BYTES:
        start = start[: start.rfind(b"\n") + 1] or start
    lines = io.StringIO(start.removeprefix(BOM).decode("utf-8", "replace"), newline="\n")
    return list(islice((line for line in lines if line.strip()), SAMPLE_LINES))


def _widths(lines: Iterable[str], delimiter: str, quoted: bool) -> set[int]:
    """Return the numbers of columns (0 if there is a mistake), without a record that may continue after these lines."""
    records = split_records(lines, Dialect(delimiter, quoted))
    return {len(record.values) for record in records if record.mistake != UNCLOSED}


def _is_table(widths: set[int]) -> bool:
    return len(widths) == 1 and min(widths) > 1
