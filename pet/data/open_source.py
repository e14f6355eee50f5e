"""Open a table: find the files or the hub data set that a name stands for, without reading any rows."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pet.data.columns import some
from pet.data.detect import detect
from pet.data.hub import open_hub
from pet.data.source import TEXT_SUFFIXES, Source, first_line
from pet.data.table_format import DETECT, TableFormat, TableNotice
from pet.data.text_file import BOM, BROKEN_GZIP, WrongText, open_bytes
from pet.errors import PetError
from pet.resources import expand


def open_source(source: str | os.PathLike[str], name: str, table_format: TableFormat = DETECT) -> Source:
    """Find out what kind of table `source` is.

    Parameters
    ----------
    source : str or path
        A file, a folder of Parquet shards, or ``hub:OWNER/NAME[:CONFIG][@SPLIT]``.
    name : str
        What messages call this input.
    table_format : TableFormat
        How to read a text file; default: detected. A `TableNotice` says if the result is unusual.

    Raises
    ------
    PetError
        If the file does not exist, cannot be opened, is empty, has an unsupported format, or can be read in two ways.
    """
    if not isinstance(source, (str, os.PathLike)):
        raise PetError(f"{name}: is a {type(source).__name__}, not the name of a file; write it to a file first")
    text = os.fspath(source)
    if text.startswith("hub:"):
        return open_hub(text, name)
    path = expand(text)
    if not path.exists():
        raise PetError(f"{name}: {text}: no such file; check the path (write hub data sets as hub:OWNER/NAME)")
    if path.is_dir():
        return _open_folder(path, name)
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    plain = suffixes[0] if suffixes[-1:] == [".gz"] else suffixes[-1] if suffixes else ""
    if suffixes[-1:] == [".parquet"]:
        return _open_parquet((path,), text, name)
    if plain not in TEXT_SUFFIXES:
        raise PetError(
            f"{name}: {text}: cannot tell the format from {path.suffix or 'a name with no suffix'}; "
            "use .jsonl, .csv or .tsv (optionally followed by .gz), or .parquet"
        )
    return _open_text(path, TEXT_SUFFIXES[plain], text, name, table_format)


def _open_text(path: Path, kind: str, shown: str, name: str, table_format: TableFormat) -> Source:
    place = f"{name}: {shown}"
    _refuse_empty(path, place)
    try:
        found = detect(path, kind, table_format)
    except WrongText as error:
        raise PetError(f"{place}{'' if error.line is None else f':{error.line}'}: {error}") from None
    except BROKEN_GZIP as error:
        raise PetError(
            f"{place}: the gzip file is truncated or broken ({first_line(error)}); download it again"
        ) from None
    if found.notices:
        warnings.warn(TableNotice(f"{place}: {'; '.join(found.notices)}"), stacklevel=2)
    return Source(kind, shown, (path,), encoding=found.encoding, dialect=found.dialect)


def _refuse_empty(path: Path, place: str) -> None:
    """Refuse a file that cannot be opened or has no rows."""
    try:
        with open_bytes(path) as file:
            start = file.read(4096)
    except BROKEN_GZIP:
        raise PetError(
            f"{place}: is named .gz but is not a complete gzip file; unpack it or download it again"
        ) from None
    except OSError as error:
        raise PetError(f"{place}: cannot be opened ({error.strerror}); check the permissions") from None
    if not start.removeprefix(BOM).strip() and len(start) < 4096:
        raise PetError(f"{place}: is empty; it needs at least one row")


def _open_folder(path: Path, name: str) -> Source:
    shards = tuple(sorted(path.glob("*.parquet")))
    if not shards:
        raise PetError(
            f"{name}: {path}: is a folder without *.parquet files; name a file or a folder of Parquet shards"
        )
    return _open_parquet(shards, str(path), name)


def _open_parquet(paths: tuple[Path, ...], shown: str, name: str) -> Source:
    schemas, rows = [], 0
    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                schemas.append(file.schema_arrow)
                rows += file.metadata.num_rows
            names = schemas[-1].names
        except UnicodeDecodeError:
            raise PetError(
                f"{name}: {path}: the name of a column is not UTF-8; rename the column and write the file again"
            ) from None
        except (pa.ArrowException, OSError) as error:
            raise PetError(
                f"{name}: {path}: is not a complete Parquet file ({first_line(error)}); write or download it again"
            ) from None
        if names != schemas[0].names:
            raise PetError(
                f"{name}: {path}: has the columns {some(names)} but {paths[0].name} has "
                f"{some(schemas[0].names)}; all shards in a folder must have the same columns"
            )
    if not rows:
        raise PetError(f"{name}: {shown}: is empty; it needs at least one row")
    return Source("parquet", shown, paths, class_names=_class_names(schemas[0]))


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
