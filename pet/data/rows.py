"""Rows with all the columns that their file has, and writing such rows in every format that is read.

`pet.data.read` keeps what a task needs; a few-shot file that is drawn from a larger one keeps the rest, too.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, time, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pet.data.columns import Layout, as_text
from pet.data.problems import Problems
from pet.data.row_reader import records
from pet.data.source import DELIMITERS, Source, column_names
from pet.errors import PetError

Row = Mapping[str, Any]
ENDINGS = (".jsonl", ".csv", ".tsv", ".parquet")
CHUNK = 4096
_PRINTED = (date, time, timedelta, Decimal)  # values of Parquet columns that JSON has no word for


def whole_rows(source: Source, name: str, *, numbers: bool = True) -> Iterator[Row]:
    """Every row of a table with all its columns, in the order (and number) of `pet.data.read.read_table`.

    Parameters
    ----------
    source : an opened source
    name : what messages call it
    numbers : whether numbers of JSON lines stay numbers, or come as the text that they are written with

    Raises
    ------
    PetError
        After the last row, with every line that could not be read.
    """
    columns = column_names(source) or []
    layout = Layout({column: column for column in columns}, None, None)
    problems = Problems(source, name)
    for _, record in records(source, layout, problems, numbers=numbers):
        yield record
    problems.raise_if_any()


def arrow_schema(source: Source) -> pa.Schema | None:
    """Types of the columns, where the source has any; integers that stand for names count as text."""
    if source.dataset is not None:
        schema = source.dataset.features.arrow_schema
    elif source.kind == "parquet":
        schema = pq.read_schema(source.paths[0])
    else:
        return None
    fields = [pa.field(f.name, pa.string()) if f.name in source.class_names else f for f in schema]
    return pa.schema(fields)  # without the metadata, which describe the integers


def write_rows(place: Path, ending: str, rows: Iterable[Row], columns: Sequence[str], schema: pa.Schema | None) -> int:
    """Write rows to a file.

    Parameters
    ----------
    place : where; see `pet.store.files.writing`
    ending : one of `ENDINGS`, which says how
    rows : mappings of column to value; a row may lack columns
    columns : all columns, in order
    schema : their types for Parquet; None to find them out

    Returns
    -------
    Number of rows.

    Raises
    ------
    PetError
        If a value cannot stand in a file of this kind.
    """
    if ending == ".parquet":
        return _write_parquet(place, rows, columns, schema)
    with open(place, "w", encoding="utf-8", newline="") as stream:
        if ending == ".jsonl":
            return _write_json(stream, rows, columns)
        return _write_csv(stream, rows, columns, DELIMITERS[ending[1:]])


def _write_json(stream: IO[str], rows: Iterable[Row], columns: Sequence[str]) -> int:
    wanted, count = set(columns), 0
    for row in rows:
        kept = {column: value for column, value in row.items() if column in wanted}
        line = json.dumps(kept, ensure_ascii=False, default=_as_json)
        if not _encodes(line):  # half a character in a column that no one reads
            line = json.dumps(kept, default=_as_json)
        stream.write(line + "\n")
        count += 1
    return count


def _as_json(value: Any) -> str:
    if isinstance(value, _PRINTED):
        return str(value)
    raise PetError("a column holds binary values, which text files cannot; give the output the ending .parquet")


def _encodes(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _write_csv(stream: IO[str], rows: Iterable[Row], columns: Sequence[str], delimiter: str) -> int:
    writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
    writer.writerow(columns)
    count = 0
    for row in rows:
        cells = [_cell(row.get(column)) for column in columns]
        writer.writerow(cell if _encodes(cell) else cell.encode("utf-8", "replace").decode() for cell in cells)
        count += 1
    return count


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = None if isinstance(value, _PRINTED) else as_text(value)
    return json.dumps(value, ensure_ascii=False, default=_as_json) if text is None else text


def _write_parquet(place: Path, rows: Iterable[Row], columns: Sequence[str], schema: pa.Schema | None) -> int:
    tables = _tables(rows, columns, schema)
    if schema is None:  # types are known when all rows have been seen
        tables = iter([_join(list(tables))])
    first = next(tables)
    count = 0
    with pq.ParquetWriter(place, first.schema) as writer:
        for table in _and_then(first, tables):
            writer.write_table(table)
            count += table.num_rows
    return count


def _tables(rows: Iterable[Row], columns: Sequence[str], schema: pa.Schema | None) -> Iterator[pa.Table]:
    """Rows in tables of `CHUNK` rows; one table, perhaps of no rows, at least."""
    rows = iter(rows)
    picked = None if schema is None else pa.schema([schema.field(column) for column in columns])
    while chunk := list(islice(rows, CHUNK)):
        with _mixed():
            if picked is not None:
                yield pa.Table.from_pylist(list(map(dict, chunk)), picked)
                continue
            yield pa.table({column: pa.array([row.get(column) for row in chunk]) for column in columns})
    if picked is not None:
        yield picked.empty_table()


def _join(tables: list[pa.Table]) -> pa.Table:
    with _mixed():
        return pa.concat_tables(tables, promote_options="permissive")


@contextmanager
def _mixed() -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        reason = str(error).splitlines()[0]
        raise PetError(
            f"a column holds values of different kinds, which Parquet cannot ({reason}); "
            "give the output the ending .jsonl"
        ) from None


def _and_then(first: pa.Table, rest: Iterator[pa.Table]) -> Iterator[pa.Table]:
    yield first
    yield from rest
