"""Split CSV and TSV text into records.

The `csv` module is not used for reading: its limit on the length of a value applies to the whole process, and it does
not say which lines a record came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

LONGEST_VALUE = 64 << 20  # characters of a quoted value with line breaks

UNCLOSED = (
    "a quote is opened here and never closed: the file is truncated, or a quote in a value is not doubled; add "
    "--quoting none if quotes are ordinary characters"
)
LOOSE_END = (
    "a quoted value continues after its closing quote; double the quotes inside it, or add --quoting none if quotes "
    "are ordinary characters"
)
LONE_CR = "has a carriage return (CR) inside a value; quote the value, or end lines with LF or CRLF"


@dataclass(frozen=True)
class Dialect:
    """How a file separates columns and rows.

    Attributes
    ----------
    delimiter : str
        The character between columns.
    quoted : bool
        Whether double quotes enclose values. If not, they are ordinary characters and each line is a row.
    spans : bool
        Whether quoted values may contain line breaks.
    arrow : bool
        Whether Arrow's reader splits the file like `split_records`.
    """

    delimiter: str
    quoted: bool = True
    spans: bool = True
    arrow: bool = True


class Record(NamedTuple):
    """A record of a delimited file.

    Attributes
    ----------
    line : int
        Its first line, from 1.
    values : list of str
        Empty if there is a mistake.
    mistake : str
        What is wrong with it, or an empty text.
    lines : tuple of str
        Its lines, with line breaks, if it contains a quote; otherwise empty.
    loose : bool
        Whether a value that is not quoted contains a quote.
    """

    line: int
    values: list[str]
    mistake: str = ""
    lines: tuple[str, ...] = ()
    loose: bool = False


def split_records(lines: Iterable[str], dialect: Dialect) -> Iterator[Record]:
    """Split lines into records; blank lines are skipped, as by the `csv` module.

    Parameters
    ----------
    lines : lines that end in ``\\n`` (the last one may not)
    dialect : delimiter and quoting

    Examples
    --------
    >>> [record.values for record in split_records(["a,b\\n", '"1,\\n', '2",3\\n'], Dialect(","))]
    [['a', 'b'], ['1,\\n2', '3']]
    """
    delimiter, quoted = dialect.delimiter, dialect.quoted
    numbered = enumerate(lines, start=1)
    for number, line in numbered:
        if '"' not in line:
            text = without_break(line)
            if "\r" in text:
                yield Record(number, [], LONE_CR)
            elif text:
                yield Record(number, text.split(delimiter))
        elif quoted:
            yield _quoted_record(number, line, numbered, delimiter)
        else:
            text = without_break(line)
            mistake = LONE_CR if "\r" in text else ""
            yield Record(number, [] if mistake else text.split(delimiter), mistake, (line,))


def without_break(line: str) -> str:
    """Return a line without its line break: LF, CRLF, or at the end of a file CR."""
    if line.endswith("\n"):
        return line[:-2] if line.endswith("\r\n") else line[:-1]
    return line.removesuffix("\r")


def _quoted_record(number: int, line: str, numbered: Iterator[tuple[int, str]], delimiter: str) -> Record:
    """Return the record that begins with a line; read more lines if a quoted value continues there."""
    taken = [line]
    values: list[str] = []
    start, loose = 0, False
    while True:
        if line.startswith('"', start):
            value, line, start = _quoted_value(line, start + 1, numbered, taken)
            if value is None:
                return Record(number, [], UNCLOSED, tuple(taken))
            values.append(value)
            if line.startswith(delimiter, start):
                start += 1
                continue
            wrong = LOOSE_END if without_break(line[start:]) else ""
        else:
            end = line.find(delimiter, start)
            value = line[start:end] if end >= 0 else without_break(line[start:])
            values.append(value)
            loose = loose or '"' in value
            if end >= 0 and "\r" not in value:
                start = end + 1
                continue
            wrong = LONE_CR if "\r" in value else ""
        return Record(number, [] if wrong else values, wrong, tuple(taken), loose)


def _quoted_value(
    line: str, start: int, numbered: Iterator[tuple[int, str]], taken: list[str]
) -> tuple[str | None, str, int]:
    """Return the value after a quote (None if it never ends), the line where it ends, and the position after it."""
    parts: list[str] = []
    size = 0
    while True:
        end = line.find('"', start)
        if end < 0:
            parts.append(line[start:])
            size += len(line)
            following = next(numbered, None) if size <= LONGEST_VALUE else None
            if following is None:
                return None, "", 0
            line, start = following[1], 0
            taken.append(line)
        elif line.startswith('"', end + 1):
            parts.append(line[start : end + 1])
            start = end + 2
        else:
            parts.append(line[start:end])
            return "".join(parts), line, end + 1
