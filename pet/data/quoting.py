"""Decide whether quotes in a delimited file enclose values, without losing a row.

A stray opening quote swallows all lines up to the next quote. In such a record, each line could be a row of its own. It
is read as one record only if the rest of the file shows that its quotes are sound; otherwise each line is read as a
row, or the file is refused.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pet.data.delimited import LONGEST_VALUE, UNCLOSED, Dialect, Record, split_records, without_break
from pet.data.text_file import BLOCK, WrongText, line_blocks, open_bytes

Positions = NDArray[np.int64]

QUOTE, BREAK, RETURN = b'"\n\r'
_LITERAL = (
    "quotes are read as ordinary characters, because otherwise lines would be lost (change with --quoting standard)"
)


@dataclass
class Evidence:
    """Evidence that quotes enclose values, or that they are ordinary characters.

    Attributes
    ----------
    mistake : whether a record is wrong if quotes enclose values
    literal : whether each line has the columns of the header if quotes are ordinary characters
    quoted_header : whether the header has enclosing quotes
    loose : whether a value that is not enclosed contains a quote; programs do not write such files
    sound : whether a value with line breaks has a line that could not be a row
    doubt : line and number of lines of the first record all of whose lines could be rows
    sane, strange : numbers of records with quotes that enclose values on one line, and of wrong or doubtful ones
    escaped : whether an enclosed value contains a doubled quote, or on a single line a delimiter
    """

    mistake: bool = False
    literal: bool = True
    quoted_header: bool = False
    loose: bool = False
    sound: bool = False
    doubt: tuple[int, int] | None = None
    sane: int = 0
    strange: int = 0
    escaped: bool = False

    @property
    def ordinary(self) -> bool:
        """Whether quotes are probably ordinary characters: all lines are rows then, and few quotes enclose values."""
        return self.literal and not self.escaped and self.sane <= self.strange


def weigh_regular(path: Path, encoding: str, delimiter: str) -> Evidence | None:
    """Collect the evidence in a file whose quotes are regular, whole blocks at a time.

    Returns
    -------
    Evidence or None
        None if only `weigh` can tell what to do.
    """
    found = Evidence(literal=False)
    width = lines = 0
    waiting: list[bytes] = []
    inside = False
    with open_bytes(path, encoding) as file:
        for block in line_blocks(file, BLOCK):
            waiting.append(block)
            inside ^= bool(block.count(b'"') % 2)
            if inside:  # wait for the rest of the record
                if len(waiting) * BLOCK > 2 * LONGEST_VALUE:
                    return None
                continue
            chunk = _Chunk(b"".join(waiting), ord(delimiter))
            waiting = []
            if not width and len(chunk.widths):
                width = int(chunk.widths[0])
                found.quoted_header = QUOTE in chunk.data[: chunk.first_end]
            if (chunk.widths != width).any():
                return None
            chunk.weigh(width, lines, found)
            lines += len(chunk.breaks)
    return found if found.sound or found.doubt is None or found.quoted_header else None


class _Chunk:
    """Whole records of a file with regular quotes.

    Attributes
    ----------
    data : the bytes
    breaks : places of all line breaks
    ends : whether a line break ends a record
    widths : columns of each record that is not blank
    first_end : end of the first record that is not blank
    """

    def __init__(self, block: bytes, delimiter: int):
        self.data = np.frombuffer(block if block.endswith(b"\n") or not block else block + b"\n", np.uint8)
        quotes = np.flatnonzero(self.data == QUOTE)
        self.breaks = np.flatnonzero(self.data == BREAK)
        self.ends = np.searchsorted(quotes, self.breaks) % 2 == 0
        delimiters = np.flatnonzero(self.data == delimiter)
        self._in_lines = np.diff(np.searchsorted(delimiters, self.breaks), prepend=0)
        self._quotes_in_lines = np.diff(np.searchsorted(quotes, self.breaks), prepend=0)
        outside = delimiters[np.searchsorted(quotes, delimiters) % 2 == 0]
        stops = self.breaks[self.ends]
        filled = ~self._blank(stops)
        self.widths = np.diff(np.searchsorted(outside, stops), prepend=0)[filled] + 1
        self.first_end = int(stops[filled][0]) if filled.any() else 0

    def _blank(self, stops: Positions) -> NDArray[np.bool_]:
        """Return whether the text before each stop, back to the stop before, is blank; stops are line breaks."""
        starts = np.concatenate([[0], stops[:-1] + 1])[: len(stops)]
        return (stops == starts) | ((stops == starts + 1) & (self.data[starts] == RETURN))

    def weigh(self, width: int, lines: int, found: Evidence) -> None:
        """Add the evidence of records with several lines; `lines` is the number of lines before this chunk."""
        record = np.cumsum(self.ends) - self.ends
        several = np.bincount(record) > 1
        # With more delimiters than columns, a line is only a row if it has two quotes around some of them.
        is_row = (self._in_lines == width - 1) | ((self._in_lines > width - 1) & (self._quotes_in_lines > 1))
        has_part = np.bincount(record, weights=~is_row & ~self._blank(self.breaks)) > 0
        found.sound = found.sound or bool((several & has_part).any())
        doubtful = several & ~has_part
        if found.doubt is None and doubtful.any():
            mine = np.flatnonzero(record == doubtful.argmax())
            found.doubt = (lines + int(mine[0]) + 1, len(mine))


def weigh(path: Path, encoding: str, delimiter: str) -> Evidence:
    """Read a whole file record by record, in constant memory, and collect evidence about its quotes."""
    found = Evidence()
    width = 0
    dialect = Dialect(delimiter)
    with open_bytes(path, encoding) as file, io.TextIOWrapper(file, "utf-8-sig", newline="\n") as lines:
        for record in split_records(lines, dialect):
            if not width:
                width = len(record.values) or -1
                found.quoted_header = bool(record.lines) and not record.loose
                found.literal = not found.quoted_header
            found.loose = found.loose or record.loose
            found.mistake = found.mistake or len(record.values) != width
            if record.lines:
                _weigh_quoted(record, width, dialect, found)
            else:
                found.literal = found.literal and len(record.values) == width
    return found


def _weigh_quoted(record: Record, width: int, dialect: Dialect, found: Evidence) -> None:
    """Add the evidence of a record with quotes."""
    filled = [line for line in record.lines if without_break(line)]
    cut = record.mistake == UNCLOSED and len(filled) == 1 and not filled[0].endswith("\n")  # a truncated file
    found.literal = found.literal and not cut and all(_is_row(line, width, dialect.delimiter) for line in filled)
    found.escaped = found.escaped or (not record.loose and any(map(_is_escaped, record.values, repeat(dialect))))
    if len(record.lines) == 1 or record.mistake:
        found.strange += bool(record.mistake)
        found.sane += not record.mistake and not record.loose
        return
    if not all(_is_row(line, width, dialect.delimiter) or _is_quoted_row(line, width, dialect) for line in filled):
        found.sound = True
    else:
        found.doubt = found.doubt or (record.line, len(record.lines))
        found.strange += 1


def _is_escaped(value: str, dialect: Dialect) -> bool:
    """Return True if a value needed its quotes, for more than a line break."""
    return '"' in value or (dialect.delimiter in value and "\n" not in value)


def _is_row(line: str, width: int, delimiter: str) -> bool:
    return line.count(delimiter) + 1 == width and "\r" not in without_break(line)


def _is_quoted_row(line: str, width: int, dialect: Dialect) -> bool:
    return [len(record.values) for record in split_records([line], dialect)] == [width]


def choose_quoting(found: Evidence, delimiter: str) -> tuple[bool, str]:
    """Decide whether quotes enclose values.

    Returns
    -------
    quoted : bool
    notice : what to tell the user about it; may be empty

    Raises
    ------
    WrongText
        If the file can be read in two ways with different rows.
    """
    if found.mistake:
        return not found.ordinary, _LITERAL if found.ordinary else ""
    if found.doubt is None or (found.quoted_header and not found.loose):
        return True, ""
    line, count = found.doubt
    span = f"the quoted value that begins here continues for {count} lines, and each of them could be a row"
    if found.sound and not found.loose:
        return True, f"line {line}: {span}; it is read as one value (--quoting none reads each line as a row)"
    if found.ordinary and delimiter == "\t":
        return False, _LITERAL
    cure = "add --quoting standard if it is one value, or --quoting none if quotes are ordinary characters"
    raise WrongText(f"{span}; {cure}", line)
