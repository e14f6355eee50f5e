"""Read a sheet of an Excel file: every cell as the text that a CSV file of the sheet would have."""

from __future__ import annotations

import os
import re
import warnings
import zipfile
from array import array
from collections.abc import Iterator, Sequence
from datetime import datetime, time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pet.data.columns import some, two_columns
from pet.data.compressed import MOST_FREE, MOST_TIMES
from pet.data.source import Source, Unreadable, first_line
from pet.data.spill import SpillingBatches, batch_of
from pet.data.standard_input import SHOWN
from pet.data.table_format import TableNotice
from pet.data.values import as_text
from pet.errors import PetError
from pet.extras import install_command, is_installed
from pet.store.spreadsheet import unquoted

if TYPE_CHECKING:
    import datasets

ROWS_AT_ONCE = 1024
MOST_ROWS, MOST_COLUMNS = 1 << 20, 1 << 14  # of a sheet in Excel; openpyxl would count to any number
_DOCTYPE, _FORMULA = re.compile(rb"<!(?:DOCTYPE|ENTITY)"), re.compile(rb"<f[ />]")
# Excel writes control characters such as CR as _x000D_, and the first character of a text such as "_x000D_" as _x005F_.
_ESCAPED = re.compile(r"_x(00(?:0[1-9A-F]|1[0-9A-F]|5F))_", re.IGNORECASE)
_ERROR = "e"  # openpyxl's type of a cell that holds an error such as #N/A


def open_sheet(path: Path, sheet: str | None, shown: str, name: str) -> Source:
    """Read a sheet of an Excel file, by default the first one.

    Parameters
    ----------
    path : the file
    sheet : name of the sheet
    shown : what messages call the file
    name : what messages call this input

    Raises
    ------
    PetError
        If openpyxl is missing, or the file is not a workbook, has no such sheet, or has formulas without results.
    """
    place = f"{name}: {shown}"
    if not is_installed("openpyxl"):
        raise PetError(f"{place}: reading Excel files requires openpyxl: {install_command('excel')}; or save it as CSV")
    state = os.stat(path)
    try:
        dataset, numbers, others = _read(path.absolute(), sheet, (state.st_size, state.st_mtime_ns, state.st_ino))
    except _EmptySheet as error:
        how = f"; {_another(shown, error.others)}" if error.others else ""
        how += f" (the others are {some(error.others)})" if len(error.others) > 1 else ""
        raise PetError(f"{place}: {error}{how}") from None
    except Unreadable as error:
        raise PetError(f"{place}: {error}") from None
    if others and sheet is None:
        notice = f"{place}: reads the first of {1 + len(others)} sheets; {_another(shown, others)}"
        warnings.warn(TableNotice(notice), stacklevel=3)
    return Source("sheet", shown, (path,), dataset, numbers=numbers)


def _another(shown: str, others: Sequence[str]) -> str:
    """Return how to name another sheet of the file."""
    if shown == SHOWN:
        return f"save it as a file, and name another one as FILE#{others[0]}"
    return f"name another one as '{shown}#{others[0]}'"


class _EmptySheet(Unreadable):
    """A sheet has no cells; `others` are the names of the other ones."""

    others: tuple[str, ...] = ()


@lru_cache(maxsize=4)
def _read(
    path: Path, sheet: str | None, _state: tuple[int, ...]
) -> tuple[datasets.Dataset, Sequence[int], tuple[str, ...]]:
    """Return the rows, the number of each of them in the sheet, and the names of the other sheets."""
    import openpyxl

    try:
        _check_archive(path)
        book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
        try:
            names = [one.title for one in book.worksheets]
            if sheet is not None and sheet not in names:
                raise Unreadable(f"has no sheet {sheet!r}; its sheets are {', '.join(map(repr, names))}")
            chosen = book.worksheets[0 if sheet is None else names.index(sheet)]
            formulas = _formulas(path, chosen)
            dataset, numbers = _table(chosen, formulas)
        except _EmptySheet as error:
            error.others = tuple(name for name in names if name != chosen.title)
            raise
        finally:
            book.close()
    except Unreadable:
        raise
    except Exception as error:  # whatever openpyxl raises for a damaged file
        raise Unreadable(f"is not a sound Excel file ({first_line(error):.200}); save it again, or as CSV") from error
    return dataset, numbers, tuple(names[1:])


def _check_archive(path: Path) -> None:
    """Refuse files that are no workbook, or that unpack to far more than a workbook would."""
    if not zipfile.is_zipfile(path):
        raise Unreadable(
            "is not an Excel workbook (.xlsx), or is protected with a password; save it without one, or as CSV"
        )
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        if sum(part.file_size for part in parts) > max(MOST_FREE, MOST_TIMES * path.stat().st_size):
            raise Unreadable(f"unpacks to more than {MOST_TIMES} times its size; save it as CSV if you trust it")
        for part in parts:
            if part.filename.endswith((".xml", ".rels")) and _contains(archive, part, _DOCTYPE):
                raise Unreadable("contains an XML document type, which Excel never writes; save it again, or as CSV")


def _contains(archive: zipfile.ZipFile, part: zipfile.ZipInfo, pattern: re.Pattern[bytes]) -> bool:
    """Return True if a part of a workbook contains a short pattern."""
    rest = b""
    with archive.open(part) as file:
        while block := file.read(1 << 20):
            if pattern.search(rest + block):
                return True
            rest = block[-16:]
    return False


def _formulas(path: Path, sheet: Any) -> Iterator[Sequence[Any]] | None:
    """Return the rows with formulas in place of their results, or None for a sheet without formulas."""
    import openpyxl

    with zipfile.ZipFile(path) as archive:
        if not _contains(archive, archive.getinfo(sheet._worksheet_path), _FORMULA):
            return None
    book = openpyxl.load_workbook(path, read_only=True, data_only=False, keep_links=False)
    return _rows(book[sheet.title])


def _rows(sheet: Any) -> Iterator[Sequence[Any]]:
    sheet.reset_dimensions()  # files lie about them
    return iter(sheet.iter_rows())


def _table(sheet: Any, formulas: Iterator[Sequence[Any]] | None) -> tuple[datasets.Dataset, Sequence[int]]:
    rows = _filled_rows(sheet, formulas)
    header_row, first = next(rows, (0, []))
    header = [cell or "" for cell in first]
    while header and not header[-1]:
        header.pop()
    if not header:
        raise _EmptySheet(f"the sheet {sheet.title!r} is empty; its first row must name the columns")
    if len({*header}) < len(header):
        raise Unreadable(f"row {header_row}: {_twice(header)}")
    schema = pa.schema([(column, pa.string()) for column in header])
    store = SpillingBatches(schema, None, "input")
    numbers, waiting = array("l"), []
    for number, cells in rows:
        if len(cells) > len(header) and any(cell != "" for cell in cells[len(header) :]):
            raise Unreadable(
                f"row {number}: has more cells than row {header_row}, which must name all columns; write names into "
                "it, or remove the rows above the names, or the extra cells"
            )
        waiting.append(tuple((cells + [""] * len(header))[: len(header)]))
        numbers.append(number)
        if len(waiting) == ROWS_AT_ONCE:
            store.add(batch_of(waiting, schema))
            waiting = []
    if not numbers:
        raise Unreadable("is empty; it needs at least one row below the names of the columns")
    if waiting:
        store.add(batch_of(waiting, schema))
    return store.finish(), numbers


def _twice(header: Sequence[str]) -> str:
    if (unnamed := header.count("")) > 1:
        return f"{unnamed} columns have no name; name or remove them"
    first = next(column for column in header if header.count(column) > 1)
    return two_columns([first] * header.count(first))


def _filled_rows(sheet: Any, formulas: Iterator[Sequence[Any]] | None) -> Iterator[tuple[int, list[str | None]]]:
    """Yield number and cells of every row that is not blank. A cell with an error such as #N/A is None."""
    for number, row in enumerate(_rows(sheet), start=1):
        if number > MOST_ROWS or len(row) > MOST_COLUMNS:
            raise Unreadable(f"has a cell outside the {MOST_ROWS:,} rows of a sheet; save it again, or as CSV")
        for cell in () if formulas is None else next(formulas):
            position = cell.column - 1 if cell.value is not None and cell.data_type == "f" else -1
            if position >= 0 and row[position].value is None:
                raise Unreadable(
                    f"cell {cell.coordinate} has a formula without a stored result; open the file in a spreadsheet "
                    "program and save it, or replace the formula with its value"
                )
        cells = [None if cell.data_type == _ERROR else _text(cell.value) for cell in row]
        if any(cell != "" for cell in cells):
            yield number, cells


def _text(value: Any) -> str | None:
    """Return the value of a cell as text: empty for an empty cell, and a date without time as a date."""
    if value is None:
        return ""
    if isinstance(value, datetime) and value.time() == time():
        value = value.date()
    if isinstance(value, str):
        return unquoted(_ESCAPED.sub(lambda found: chr(int(found[1], 16)), value))
    return as_text(value)
