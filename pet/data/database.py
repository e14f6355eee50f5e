"""Read a table of an SQLite or DuckDB file, without writing to it and without any SQL from outside."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pet.data.columns import near, some
from pet.data.source import ROWS_AT_ONCE, Source, Unreadable, first_line
from pet.data.source_names import split_database
from pet.data.spill import SpillingBatches
from pet.data.values import as_text
from pet.errors import PetError
from pet.extras import install_command, is_installed

if TYPE_CHECKING:
    import datasets

_WAIT = 5.0  # seconds for another program's lock
_TABLES = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite@_%' ESCAPE '@'"
_SQLITE_TYPES = {
    "integer": pa.int64(),
    "real": pa.float64(),
    "text": pa.string(),
    "blob": pa.binary(),
}
# Views in a DuckDB file could otherwise read any other file, or the network.
_DUCKDB_LIMITS: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
}


def open_database(text: str, name: str) -> Source:
    """Read the table that ``sqlite:FILE#TABLE`` or ``duckdb:FILE#TABLE`` names.

    The table may be left out if the file has only one.

    Raises
    ------
    PetError
        If the file or the table does not exist, cannot be read, or has no rows, or duckdb is missing.
    """
    scheme, path, table = split_database(text)
    place = f"{name}: {text}"
    if not path.is_file():
        raise PetError(f"{place}: no such file: {path}; write {scheme}:FILE#TABLE")
    if scheme == "duckdb" and not is_installed("duckdb"):
        raise PetError(f"{place}: reading DuckDB files requires duckdb: {install_command('duckdb')}")
    try:
        states = [os.stat(part) for part in (path, Path(f"{path}-wal")) if part.exists()]
        state = tuple((one.st_size, one.st_mtime_ns, one.st_ino) for one in states)
        dataset = _read(scheme, path.absolute(), table, state)
    except Unreadable as error:
        raise PetError(f"{place}: {error}") from None
    except OSError as error:
        raise PetError(f"{place}: cannot be opened ({error.strerror or error}); check the permissions") from None
    return Source("database", text, (path,), dataset)


@lru_cache(maxsize=4)
def _read(scheme: str, path: Path, table: str, _state: tuple[tuple[int, ...], ...]) -> datasets.Dataset:
    batches = _sqlite_batches(path, table) if scheme == "sqlite" else _duckdb_batches(path, table)
    first = next(batches, None)
    if first is None or not first.num_rows:
        raise Unreadable("is empty; it needs at least one row")
    store = SpillingBatches(first.schema, None, "input")
    try:
        store.add(first)
        for batch in batches:
            store.add(batch)
        return store.finish()
    except BaseException:
        store.clear()
        raise


def _choose(tables: Sequence[str], table: str) -> str:
    """Return the named table, or the only one."""
    if table in tables:
        return table
    if not tables:
        raise Unreadable("has no tables; name another file")
    if not table and len(tables) == 1:
        return tables[0]
    what = f"has no table {table!r}{near(table, tables)}" if table else "has several tables"
    raise Unreadable(f"{what}; its tables are {some(tables)}; name one after #")


def _quoted(identifier: str) -> str:
    """Return an identifier for SQL, whatever is in it."""
    doubled = identifier.replace('"', '""')
    return f'"{doubled}"'


def _sqlite_batches(path: Path, table: str) -> Iterator[pa.RecordBatch]:
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_WAIT)) as connection:
            connection.isolation_level = None
            for pragma in ("trusted_schema = OFF", "query_only = ON", "cell_size_check = ON"):
                connection.execute(f"PRAGMA {pragma}")
            connection.set_progress_handler(lambda: 0, 10**6)  # lets Ctrl-C through
            connection.execute("BEGIN")  # all queries see the same rows
            source = _quoted(_choose([row[0] for row in connection.execute(_TABLES)], table))
            names = [column[0] for column in connection.execute(f"SELECT * FROM {source} LIMIT 0").description]
            schema = pa.schema(list(zip(names, _sqlite_types(connection, source, names), strict=True)))
            rows = _in_order(connection, source)
            while chunk := rows.fetchmany(ROWS_AT_ONCE):
                columns = [
                    _array(values, kind) for values, kind in zip(zip(*chunk, strict=True), schema.types, strict=True)
                ]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)
    except sqlite3.Error as error:
        raise Unreadable(_sqlite_mistake(error)) from None


def _in_order(connection: sqlite3.Connection, source: str) -> sqlite3.Cursor:
    """Return all rows, in the order in which they were added, if the table keeps it."""
    try:
        return connection.execute(f"SELECT * FROM {source} ORDER BY rowid")
    except sqlite3.OperationalError:  # a view, or a table without row numbers
        return connection.execute(f"SELECT * FROM {source}")


def _sqlite_types(connection: sqlite3.Connection, source: str, names: Sequence[str]) -> list[pa.DataType]:
    """Return the type of each column; text if its values have several, because SQLite allows that."""
    kinds = ", ".join(f"group_concat(DISTINCT typeof({_quoted(name)}))" for name in names)
    (found,) = connection.execute(f"SELECT {kinds} FROM {source}").fetchall()
    sets = [set((one or "").split(",")) - {"null", ""} for one in found]
    return [_SQLITE_TYPES[kinds.pop()] if len(kinds) == 1 else pa.string() for kinds in sets]


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    return pa.array(map(as_text, values) if kind == pa.string() else values, kind, size=len(values))


def _sqlite_mistake(error: sqlite3.Error) -> str:
    reason = first_line(error)
    if "locked" in reason or "busy" in reason:
        return "is locked by another program; close that program, or copy the file"
    if "decode" in reason:
        return f"has a text that is not UTF-8 ({reason:.100}); correct it in the database"
    return f"cannot be read as an SQLite database ({reason:.200}); check the file and the table"


def _duckdb_batches(path: Path, table: str) -> Iterator[pa.RecordBatch]:
    import duckdb

    try:
        with closing(duckdb.connect(str(path), read_only=True, config=_DUCKDB_LIMITS)) as connection:
            found = connection.execute(
                "SELECT table_schema, table_name FROM information_schema.tables "
                "WHERE table_catalog = current_database() ORDER BY ALL"
            ).fetchall()
            places = {one if schema == "main" else f"{schema}.{one}": (schema, one) for schema, one in found}
            schema, one = places[_choose(list(places), table)]
            reader = connection.sql(f"SELECT * FROM {_quoted(schema)}.{_quoted(one)}").to_arrow_reader(ROWS_AT_ONCE)
            yield from _plain_batches(reader)
    except duckdb.Error as error:
        reason = first_line(error)
        if "lock" in reason.lower():
            raise Unreadable("is locked by another program; close that program, or copy the file") from None
        raise Unreadable(f"cannot be read as a DuckDB database ({reason:.200}); check the file and the table") from None


def _plain_batches(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Yield batches in which columns of types that only databases have, such as intervals, are texts."""
    fields = [field if _is_plain(field.type) else pa.field(field.name, pa.string()) for field in reader.schema]
    schema = pa.schema(fields)
    for batch in reader:
        columns = [
            column
            if column.type == field.type
            else pa.array(map(as_text, column.to_pylist()), field.type, size=len(column))
            for column, field in zip(batch.columns, fields, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


_PLAIN: tuple[Callable[[pa.DataType], bool], ...] = (
    pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string, pa.types.is_large_string,
    pa.types.is_binary, pa.types.is_temporal, pa.types.is_decimal, pa.types.is_nested, pa.types.is_dictionary,
)  # fmt: skip


def _is_plain(kind: pa.DataType) -> bool:
    return any(test(kind) for test in _PLAIN) and not pa.types.is_interval(kind)
