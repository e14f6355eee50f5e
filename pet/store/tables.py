"""Write a table chunk by chunk as JSON lines, CSV, TSV or Parquet.

The ending of the file's name selects the format. The file appears under its name only when all of it has been
written, and no more than one chunk is in memory at a time.
"""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import IO, Any, Final, Protocol

import jsonlines
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pet.errors import Notice, PetError
from pet.store.files import writing
from pet.store.spreadsheet import changes, quoted
from pet.terminal import is_utf8, json_visible

TABLE_ENDINGS = (".jsonl", ".csv", ".tsv", ".parquet")
PROBABILITY_COLUMN = "p({})"  # of a label, in CSV and TSV
VOTE_COLUMN = "vote({})"  # of a member

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_PRINTED = (date, time, timedelta, Decimal)  # values from Parquet columns that JSON has no type for

Values = Sequence[Any] | NDArray[Any]


class Missing(Enum):
    """The type of `MISSING`."""

    MISSING = "missing"


# A value that a row does not have: omitted from JSON lines, empty in CSV, null in Parquet.
MISSING: Final = Missing.MISSING


@dataclass(frozen=True)
class OutputColumn:
    """One column of a table to write.

    Attributes
    ----------
    name : str
    kind : pyarrow.DataType
        Type in Parquet files; of one entry if there are `entries`.
    entries : tuple of str
        Names of the entries if each value is a vector. JSON lines hold a mapping of entry to value, CSV files one
        column per entry, behind the other columns, and Parquet files a list.
    entry_column : str
        Name of an entry's column in CSV files, with ``{}`` for the name of the entry.
    """

    name: str
    kind: Any
    entries: tuple[str, ...] = ()
    entry_column: str = "{}"

    @property
    def csv_names(self) -> list[str]:
        """Names of its columns in CSV files."""
        return [self.entry_column.format(entry) for entry in self.entries] if self.entries else [self.name]


def needs_types(target: Path | IO[str]) -> bool:
    """Return True if a table of this format needs the types of its columns."""
    return isinstance(target, Path) and target.suffix.lower() == ".parquet"


class TableWriter(Protocol):
    """Appends rows to a table."""

    def write(self, values: Mapping[str, Values]) -> None:
        """Append rows.

        Parameters
        ----------
        values : mapping of str to sequence or array
            For each column its values, of shape (rows,), or (rows, entries) if the column has entries.
        """


@contextmanager
def writing_table(
    target: Path | IO[str],
    columns: Sequence[OutputColumn],
    metadata: Mapping[str, str] | None = None,
    *,
    as_is: bool | None = False,
) -> Iterator[TableWriter]:
    """Write a table; the file appears when the block ends without an error.

    Cells of CSV and TSV files that a spreadsheet would run as a formula are quoted, and a `Notice` says so. All readers
    of this package undo it.

    Parameters
    ----------
    target : Path or text stream
        A file with one of `TABLE_ENDINGS`, or a stream, which receives JSON lines.
    columns : sequence of OutputColumn
    metadata : mapping of str to str, optional
        Metadata of the schema, for Parquet files.
    as_is : bool or None
        Quote no formulas. None: quote them, for a command without the option ``--as-is``.

    Yields
    ------
    TableWriter

    Raises
    ------
    PetError
        If the ending is unknown, a value does not fit the format, the disk is full or the folder is read-only.

    Examples
    --------
    >>> import sys
    >>> columns = [OutputColumn("id", pa.string()), OutputColumn("p", pa.float64(), ("yes", "no"))]
    >>> with writing_table(sys.stdout, columns) as table:
    ...     table.write({"id": ["a"], "p": np.array([[0.75, 0.25]])})
    {"id": "a", "p": {"yes": 0.75, "no": 0.25}}
    """
    if not isinstance(target, Path):
        yield _JsonLines(target, columns, shown=True)
        return
    ending = target.suffix.lower()
    if ending not in TABLE_ENDINGS:
        raise PetError(f"{target}: unknown table format; use one of the endings {', '.join(TABLE_ENDINGS)}")
    with writing(target) as beside:
        if ending == ".parquet":
            with _Parquet(beside, columns, metadata) as parquet:
                yield parquet
        elif ending == ".jsonl":
            # A lone surrogate is escaped in the same way as in JSON.
            with beside.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
                yield _JsonLines(stream, columns)
        else:
            with beside.open("w", encoding="utf-8", errors="replace", newline="") as stream:
                delimited = _Csv(stream, columns, _DELIMITERS[ending], as_is)
                yield delimited
            delimited.warn_if_quoted(target)


class _JsonLines:
    """One JSON object per line."""

    def __init__(self, stream: IO[str], columns: Sequence[OutputColumn], shown: bool = False):
        self._columns = columns
        self._names = [column.name for column in columns]
        encode = json.JSONEncoder(ensure_ascii=not is_utf8(stream), default=_as_text).encode
        # A stream may be a terminal; a file keeps every character as it is.
        dumps = (lambda row: json_visible(encode(row))) if shown else encode
        self._lines = jsonlines.Writer(stream, dumps=dumps)

    def write(self, values: Mapping[str, Values]) -> None:
        lists = [self._objects(column, values[column.name]) for column in self._columns]
        self._lines.write_all(
            {name: value for name, value in zip(self._names, row, strict=True) if value is not MISSING}
            for row in zip(*lists, strict=True)
        )

    def _objects(self, column: OutputColumn, values: Values) -> Sequence[Any]:
        plain = _plain(values)
        return [dict(zip(column.entries, row, strict=True)) for row in plain] if column.entries else plain


@dataclass(frozen=True)
class _Newlines:
    """A stream for `csv.writer` that ends records with a newline.

    The writer ends them with ``\\r\\n``: it quotes a lone ``\\r`` in a value only if its line terminator has one.
    """

    stream: IO[str]

    def write(self, record: str) -> int:
        return self.stream.write(record.removesuffix("\r\n") + "\n")


class _Csv:
    """A header and one record per row; columns with entries come last, with one column per entry."""

    def __init__(self, stream: IO[str], columns: Sequence[OutputColumn], delimiter: str, as_is: bool | None):
        self.formulas = 0  # cells that were quoted
        self._as_is = as_is
        self._columns = sorted(columns, key=lambda column: bool(column.entries))
        self._csv = csv.writer(_Newlines(stream), delimiter=delimiter, lineterminator="\r\n")
        self._csv.writerow([self._text(name) for column in self._columns for name in column.csv_names])

    def write(self, values: Mapping[str, Values]) -> None:
        cells: list[Sequence[Any]] = []
        for column in self._columns:
            plain = _plain(values[column.name])
            parts = list(zip(*plain, strict=True)) or [()] * len(column.entries) if column.entries else [plain]
            cells += parts
        self._csv.writerows(list(map(self._cell, row)) for row in zip(*cells, strict=True))

    def warn_if_quoted(self, target: Path) -> None:
        """Warn with the number of quoted cells, if any."""
        if self.formulas:
            warnings.warn(Notice(f"{target}: {changes(self.formulas, optional=self._as_is is not None)}"), stacklevel=4)

    def _cell(self, value: Any) -> str:
        return self._text(value) if isinstance(value, str) else _cell(value)

    def _text(self, text: str) -> str:
        text = text.replace("\0", "")  # a file with this character could not be read again
        safe = text if self._as_is else quoted(text)
        self.formulas += safe is not text
        return safe


class _Parquet:
    """A Parquet file; each chunk is written as a row group."""

    def __init__(self, place: Path, columns: Sequence[OutputColumn], metadata: Mapping[str, str] | None):
        self._columns = columns
        fields = [(column.name, pa.list_(column.kind) if column.entries else column.kind) for column in columns]
        self._schema = pa.schema(fields, metadata=dict(metadata) if metadata else None)
        self._file = pq.ParquetWriter(place, self._schema)

    def write(self, values: Mapping[str, Values]) -> None:
        table = pa.Table.from_arrays(
            [arrow_array(column, values[column.name]) for column in self._columns], schema=self._schema
        )
        if table.num_rows:
            self._file.write_table(table)

    def __enter__(self) -> _Parquet:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # The disk may be full; the first error is the one to report.
        with suppress(OSError) if kind else nullcontext():
            self._file.close()


def arrow_array(column: OutputColumn, values: Values) -> pa.Array:
    """Return the values of a column as an Arrow array; a `PetError` if they do not have the column's type."""
    if column.entries:
        flat = np.asarray(values).reshape(-1)
        ends = np.arange(len(values) + 1, dtype=np.int32) * len(column.entries)
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(flat, column.kind))
    if not isinstance(values, np.ndarray):
        values = [None if value is MISSING else value for value in values]
    try:
        return pa.array(values, column.kind)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        raise mixed_column(column.name, error) from None


def mixed_column(name: str, error: Exception) -> PetError:
    """Return the error for a column whose values do not have one type, which Parquet needs."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return PetError(
        f"column {name!r} contains values of different types, which Parquet cannot store ({reason}); "
        "write a .jsonl file instead"
    )


def _plain(values: Values) -> Sequence[Any]:
    """Return the same values as Python objects."""
    if isinstance(values, np.ndarray):
        listed: list[Any] = values.tolist()
        return listed
    return values


def _cell(value: Any) -> str:
    """Return a value that is not text as the text of a CSV field."""
    if value is None or value is MISSING:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"  # as JSON and Arrow write them
    if isinstance(value, (int, float, *_PRINTED)):
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=_as_text)


def _as_text(value: Any) -> str:
    """Return a value that JSON has no type for, as text."""
    if isinstance(value, _PRINTED):
        return str(value)
    raise PetError("a column contains binary values, which text files cannot store; write a .parquet file instead")
