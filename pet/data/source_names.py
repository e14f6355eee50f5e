"""The names of tables, as users write them: prefixes, sheets and selected rows. Nothing is opened here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pet.resources import expand

STANDARD_INPUT = "-"
LABELED, UNLABELED = "labeled:", "unlabeled:"
HUB, DATABASES = "hub:", ("sqlite:", "duckdb:")
SHEETS = (".xlsx", ".xlsm")


def split_rows(source: str) -> tuple[str, bool | None]:
    """Split ``labeled:TABLE`` or ``unlabeled:TABLE`` into the table and which of its rows are read; None: all.

    Examples
    --------
    >>> split_rows("unlabeled:tickets.csv"), split_rows("tickets.csv")
    (('tickets.csv', False), ('tickets.csv', None))
    """
    for prefix in (LABELED, UNLABELED):
        if source.startswith(prefix):
            return source.removeprefix(prefix), prefix == LABELED
    return source, None


def split_sheet(text: str) -> tuple[str, str | None]:
    """Split ``FILE.xlsx#SHEET`` into file and sheet; other names have no sheet.

    Examples
    --------
    >>> split_sheet("tickets.xlsx#June"), split_sheet("a#b.csv")
    (('tickets.xlsx', 'June'), ('a#b.csv', None))
    """
    file, mark, sheet = text.rpartition("#")
    return (file, sheet) if mark and file.lower().endswith(SHEETS) else (text, None)


def split_database(text: str) -> tuple[str, Path, str]:
    """Split ``sqlite:FILE#TABLE`` into scheme, file and table, which may be missing.

    Examples
    --------
    >>> split_database("sqlite:a.db#my table")[2]
    'my table'
    """
    scheme, _, rest = text.partition(":")
    file, _, table = (rest, "", "") if "#" not in rest or expand(rest).is_file() else rest.rpartition("#")
    return scheme, expand(file), table


def text_columns(source: str, columns: Mapping[str, str]) -> dict[str, str]:
    """Return the columns that reading the texts of a table requires: that of the labels only if they select the rows.

    Examples
    --------
    >>> text_columns("tickets.csv", {"text": "body", "label": "team"})
    {'text': 'body'}
    """
    selects = split_rows(source)[1] is not None
    return {key: column for key, column in columns.items() if selects or key != "label"}


def absolute(source: str) -> str:
    """Return the name of a table that means the same in another folder, if there is such a file or folder."""
    whole, _ = split_rows(source)
    prefix = source.removesuffix(whole)
    if whole.startswith(HUB):
        return source
    if whole.startswith(DATABASES):
        scheme, path, table = split_database(whole)
        return f"{prefix}{scheme}:{os.path.abspath(path)}{'#' * bool(table)}{table}" if path.exists() else source
    for file, sheet in ((whole, None), split_sheet(whole)):
        if expand(file).exists():
            return f"{prefix}{os.path.abspath(expand(file))}{'' if sheet is None else f'#{sheet}'}"
    return source


def file_of(source: str) -> Path:
    """Return the file that a table is read from; for one that is none, a path that does not exist."""
    whole, _ = split_rows(source)
    if whole.startswith(DATABASES):
        return split_database(whole)[1]
    place = expand(whole)
    return place if place.exists() else expand(split_sheet(whole)[0])
