"""Whole rows: every column of a file as it is, beyond the text fields and labels that a task needs.

`pet.data.read` reads what a task needs. `pet sample` and ``--keep`` also copy other columns to their output.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa

from pet.data.columns import Layout
from pet.data.problems import Problems
from pet.data.row_reader import records
from pet.data.source import Source, arrow_schema, column_names
from pet.store.tables import MISSING, OutputColumn, mixed_column

Row = Mapping[str, Any]
ROWS_AT_ONCE = 4096


def whole_rows(
    source: Source, name: str, *, columns: Sequence[str] | None = None, numbers: bool = True
) -> Iterator[Row]:
    """Yield every row of a table, in the order of `pet.data.read.read_table`.

    Parameters
    ----------
    source : Source
    name : str
        What messages call the source.
    columns : sequence of str, optional
        Columns that are needed; default: all. Rows of text files hold the others, too.
    numbers : bool
        Keep numbers in JSON lines as numbers. If False, they are the text they are written as.

    Raises
    ------
    PetError
        After the last row, with every line that could not be read.
    """
    wanted = list((column_names(source) or []) if columns is None else columns)
    wanted += [] if source.only is None or source.kind == "json" else [source.only.column]
    problems = Problems(source, name)
    for _, record in records(
        source, Layout({column: column for column in wanted}, None, None), problems, numbers=numbers
    ):
        if source.only is None or source.only(record):
            yield record
    problems.raise_if_any()


def column_values(rows: Sequence[Row], names: Sequence[str]) -> dict[str, list[Any]]:
    """Return the values of some columns; `MISSING` where a row has no such column."""
    return {name: [row.get(name, MISSING) for row in rows] for name in names}


def chunks_of_rows(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Yield lists of `ROWS_AT_ONCE` rows; the last one may be shorter."""
    rows = iter(rows)
    while chunk := list(islice(rows, ROWS_AT_ONCE)):
        yield chunk


def output_columns(source: Source, names: Sequence[str], name: str, *, typed: bool) -> list[OutputColumn]:
    """Return columns of a source as columns to write.

    Parameters
    ----------
    source : Source
    names : sequence of str
        The columns.
    name : str
        What messages call the source.
    typed : bool
        Find the Arrow types, which only Parquet files need. For JSON lines this reads the whole file.

    Raises
    ------
    PetError
        If a column of JSON lines holds values of different types.
    """
    if not typed:
        return [OutputColumn(column, pa.null()) for column in names]
    if source.kind == "json":
        schema = _json_schema(source, names, name)
    else:
        schema = arrow_schema(source) or pa.schema([(column, pa.string()) for column in names])
    # Integers that stand for class names are written as the names.
    return [
        OutputColumn(column, pa.string() if column in source.class_names else schema.field(column).type)
        for column in names
    ]


def _json_schema(source: Source, names: Sequence[str], name: str) -> pa.Schema:
    """Types that hold all values of some columns of JSON lines."""
    found: dict[str, pa.DataType] = {column: pa.null() for column in names}
    for rows in chunks_of_rows(whole_rows(source, name, columns=names)):
        for column in names:
            try:
                kind = pa.array([row.get(column) for row in rows]).type
                if kind != found[column]:
                    found[column] = _common_type(found[column], kind)
            except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
                raise mixed_column(column, error) from None
    return pa.schema(list(found.items()))


def _common_type(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    tables = [pa.table({"x": pa.array([], kind)}) for kind in (first, second)]
    return pa.concat_tables(tables, promote_options="permissive").schema.field("x").type
