"""Open a table: find the files, the database or the hub data set that a name stands for.

This is the only place that decides what a table may be; every command opens its tables here.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pet.data.columns import near, present_columns, same_columns, some
from pet.data.compressed import COMPRESSED, BrokenFile, open_unpacked
from pet.data.database import open_database
from pet.data.detect import detect
from pet.data.hub import open_hub
from pet.data.ipc import read_ipc_schema
from pet.data.only import Only
from pet.data.saved_dataset import SPLITS, STATE, shards_of
from pet.data.sheet import open_sheet
from pet.data.source import TEXT_SUFFIXES, Source, column_names, first_line
from pet.data.source_names import DATABASES, HUB, SHEETS, STANDARD_INPUT, split_rows, split_sheet
from pet.data.standard_input import SHOWN, spool
from pet.data.table_format import DETECT, TableFormat, TableNotice
from pet.data.text_file import BOM, WrongText
from pet.data.text_folder import open_text_folder, text_files
from pet.errors import PetError
from pet.resources import expand

ARROW_SUFFIXES = (".arrow", ".feather", ".ipc")
_READABLE = (
    f".jsonl, .csv or .tsv (optionally followed by {', '.join(COMPRESSED)}), .parquet, .arrow, .feather or .xlsx; "
    "sqlite:FILE#TABLE, duckdb:FILE#TABLE and hub:NAME also work"
)

_NO_TEXT = {  # first bytes, which no text has, of files that are often named as text
    b"\x1f\x8b": "a gzip file",
    b"PK\x03\x04": "an Excel or ZIP file",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
}
_NO_TEXT_CURE = "give its name the ending of its format, such as .csv.gz or .xlsx, or unpack it"


def open_source(
    source: str | os.PathLike[str],
    name: str,
    table_format: TableFormat = DETECT,
    columns: Mapping[str, str] = {},
) -> Source:
    """Find out what kind of table `source` is.

    Parameters
    ----------
    source : str or path
        A file, a folder of Parquet shards, Arrow shards or text files, ``FILE.xlsx#SHEET``, ``sqlite:FILE#TABLE``,
        ``duckdb:FILE#TABLE``, ``hub:OWNER/NAME[:CONFIG][@SPLIT]``, or ``-`` for standard input. With ``labeled:`` or
        ``unlabeled:`` before it, only the rows that have a label, or those that have none.
    name : str
        What messages call this input.
    table_format : TableFormat
        How to read a text file; default: detected. A `TableNotice` says if the result is unusual.
    columns : mapping of str to str
        ``label`` -> column of the labels, for ``labeled:`` and ``unlabeled:``; other entries are ignored.

    Raises
    ------
    PetError
        If the file does not exist, cannot be opened, is empty, has an unsupported format, or can be read in two ways.
    """
    if not isinstance(source, (str, os.PathLike)):
        raise PetError(f"{name}: is a {type(source).__name__}, not the name of a file; write it to a file first")
    whole, labeled = split_rows(os.fspath(source))
    opened = _open(whole, name, table_format)
    return opened if labeled is None else replace(opened, only=_only(opened, labeled, name, columns))


def _only(opened: Source, labeled: bool, name: str, columns: Mapping[str, str]) -> Only:
    header = column_names(opened)
    column = present_columns(columns, header).get("label", "label")
    same = same_columns(column, header or ())
    if not same and opened.kind != "json":
        raise PetError(
            f"{name}: {opened.shown}: has no column {column!r}, which tells labeled rows from others"
            f"{near(column, header or ())}; its columns are {some(header or ())}; name it with --column label=COLUMN"
        )
    return Only(same[0] if same else column, labeled)


def _open(text: str, name: str, table_format: TableFormat) -> Source:
    if text.startswith(HUB):
        return open_hub(text, name)
    if text.startswith(DATABASES):
        return open_database(text, name)
    if text == STANDARD_INPUT:
        return _open_file(spool(name), None, SHOWN, name, table_format)
    path, sheet = expand(text), None
    if not path.exists():
        file, sheet = split_sheet(text)
        path = expand(file)
    if not path.exists():
        raise PetError(f"{name}: {text}: no such file; check the path (write hub data sets as hub:OWNER/NAME)")
    if path.is_dir():
        return _open_folder(path, name, table_format)
    return _open_file(path, sheet, text, name, table_format)


def _open_file(path: Path, sheet: str | None, shown: str, name: str, table_format: TableFormat) -> Source:
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    last = suffixes[-1] if suffixes else ""
    plain = suffixes[0] if last in COMPRESSED else last
    if plain in TEXT_SUFFIXES:
        return _open_text(path, TEXT_SUFFIXES[plain], shown, name, table_format)
    if last == ".parquet":
        return _open_shards("parquet", (path,), shown, name)
    if last in ARROW_SUFFIXES:
        return _open_shards("arrow", (path,), shown, name)
    if last in SHEETS:
        return open_sheet(path, sheet, shown, name)
    raise PetError(
        f"{name}: {shown}: cannot tell the format from {path.suffix or 'a name with no suffix'}; use {_READABLE}"
    )


def _open_text(path: Path, kind: str, shown: str, name: str, table_format: TableFormat) -> Source:
    place = f"{name}: {shown}"
    _refuse_empty(path, place)
    try:
        found = detect(path, kind, table_format)
    except WrongText as error:
        raise PetError(f"{place}{'' if error.line is None else f':{error.line}'}: {error}") from None
    except BrokenFile as error:
        raise PetError(f"{place}: {error}") from None
    if found.notices:
        warnings.warn(TableNotice(f"{place}: {'; '.join(found.notices)}"), stacklevel=2)
    return Source(kind, shown, (path,), encoding=found.encoding, dialect=found.dialect)


def _refuse_empty(path: Path, place: str) -> None:
    """Refuse a file that cannot be opened or has no rows."""
    try:
        with open_unpacked(path) as file:
            start = file.read(4096)
    except BrokenFile as error:
        raise PetError(f"{place}: {error}") from None
    except OSError as error:
        raise PetError(f"{place}: cannot be opened ({error.strerror}); check the permissions") from None
    for mark, kind in _NO_TEXT.items():
        if start.startswith(mark):
            raise PetError(f"{place}: is {kind}, not text; {_NO_TEXT_CURE}")
    if not start.removeprefix(BOM).strip() and len(start) < 4096:
        piped = "pipe the table into this command" if place.endswith(SHOWN) else "it needs at least one row"
        raise PetError(f"{place}: is empty; {piped}")


def _open_folder(path: Path, name: str, table_format: TableFormat) -> Source:
    if (path / STATE).is_file() or (path / SPLITS).is_file():
        return _open_shards("arrow", shards_of(path, name), str(path), name)
    shards = tuple(sorted(path.glob("*.parquet")))
    if shards:
        return _open_shards("parquet", shards, str(path), name)
    files, others = text_files(path)
    if files:
        return open_text_folder(path, files, others, name, table_format)
    raise PetError(
        f"{name}: {path}: is a folder without *.parquet files; name a file, a folder of Parquet shards, a saved data "
        "set, or a folder with a folder of .txt files for each label"
    )


def _open_shards(kind: str, paths: tuple[Path, ...], shown: str, name: str) -> Source:
    """Open Parquet or Arrow files that have the same columns."""
    schemas, rows = [], 0
    for path in paths:
        try:
            schema, count = _shape(kind, path)
            schemas.append(schema)
            rows += count
            names = schema.names
        except UnicodeDecodeError:
            raise PetError(
                f"{name}: {path}: the name of a column is not UTF-8; rename the column and write the file again"
            ) from None
        except (pa.ArrowException, OSError) as error:
            raise PetError(
                f"{name}: {path}: is not a complete {kind.capitalize()} file ({first_line(error)}); write or download "
                "it again"
            ) from None
        if names != schemas[0].names:
            raise PetError(
                f"{name}: {path}: has the columns {some(names)} but {paths[0].name} has "
                f"{some(schemas[0].names)}; all shards in a folder must have the same columns"
            )
    if not rows:
        raise PetError(f"{name}: {shown}: is empty; it needs at least one row")
    return Source(kind, shown, paths, class_names=_class_names(schemas[0]))


def _shape(kind: str, path: Path) -> tuple[pa.Schema, int]:
    """Return the schema of a file and its number of rows; only that of Parquet files is known without reading them."""
    if kind == "arrow":
        return read_ipc_schema(path), 1
    with pq.ParquetFile(path) as file:
        return file.schema_arrow, file.metadata.num_rows


def _class_names(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Return names of integer classes, which `datasets` stores in the metadata of the Parquet files it writes."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            column: tuple(str(name) for name in feature["names"])
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
        }
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}  # written by something else, or by a version with another layout: integers stay integers
