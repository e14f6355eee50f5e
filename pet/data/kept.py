"""Columns of the input that are copied to the output (``--keep``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from pet.data.columns import near, same_columns, some, two_columns
from pet.data.open_source import open_source
from pet.data.rows import Row, column_values, output_columns, whole_rows
from pet.data.source import Source, column_names
from pet.data.table_options import TableOptions
from pet.errors import PetError
from pet.store.tables import OutputColumn

_NAME = "input"  # what messages call the table
_CONFUSED = (("labels", "label", "several labels"), ("label", "labels", "one label each"))


def choose_columns(given: Sequence[str], header: Sequence[str], place: str) -> tuple[str, ...]:
    """Return the columns that ``--keep`` names, each once.

    Parameters
    ----------
    given : sequence of str
        Each is the name of a column, or several names separated by commas.
    header : sequence of str
        The columns that exist; for JSON lines those of the first line.
    place : str
        What messages call the input.

    Raises
    ------
    PetError
        With every name that is not a column, or is the name of several.

    Examples
    --------
    >>> choose_columns(["title,stars", "a,b"], ["title", "stars", "a,b"], "x.csv")
    ('title', 'stars', 'a,b')
    """
    names: list[str] = []
    for text in given:
        names += [text] if text in header else [part.strip() for part in text.split(",")]
    problems = []
    found = []
    for name in dict.fromkeys(names):
        same = same_columns(name, header)
        if not same:
            problems.append(
                f"--keep {name}: {place} has no such column{near(name, header)}; its columns are {some(header)}"
            )
        elif len(same) > 1:
            problems.append(f"--keep {name}: {place} {two_columns(same)}")
        else:
            found.append(same[0])
    if problems:
        raise PetError(problems)
    return tuple(dict.fromkeys(found))


def refuse_many_texts(option: str, columns: Mapping[str, str]) -> None:
    """Refuse an option that copies rows of the input if a row holds several texts, as with ``answers[].text``."""
    lists = [column for column in columns.values() if "[]" in column]
    if lists:
        raise PetError(
            f"{option}: a row of the input holds several texts (column {lists[0]}), so its other columns cannot be "
            "copied; leave this out, or write a file with one row for each text"
        )


def refuse_taken(names: Sequence[str], columns: Sequence[OutputColumn]) -> None:
    """Refuse to keep columns that have the name of a column that the output has anyway."""
    taken = {name for column in columns for name in (column.name, *column.csv_names)}
    problems = [
        f"--keep {name}: the output already has a column {name!r}; rename the column in the input"
        for name in names
        if name in taken
    ]
    problems += [
        f"--keep {name}: the output would then be read as that of texts with {count}; rename the column in the input"
        for name, other, count in _CONFUSED
        if name in names and other in taken
    ]
    if problems:
        raise PetError(problems)


class KeptColumns:
    """The kept columns of a table, read in step with its chunks.

    Parameters
    ----------
    source : Source or None
        The table; None if nothing is kept.
    columns : sequence of OutputColumn
        The kept columns.
    """

    def __init__(self, source: Source | None, columns: Sequence[OutputColumn]):
        self.columns = list(columns)
        self.names = [column.name for column in columns]
        self._source = source
        self._rows: Iterator[Row] = iter(()) if source is None else whole_rows(source, _NAME, columns=self.names)

    def take(self, rows: int, positions: Iterable[int] | None = None) -> dict[str, list[Any]]:
        """Read the next rows.

        Parameters
        ----------
        rows : int
            How many.
        positions : iterable of int, optional
            Which of these rows to return; default: all.

        Returns
        -------
        dict of str to list
            The values of each column.

        Raises
        ------
        PetError
            If there are fewer rows, because the file has changed since it was checked.
        """
        if self._source is None:
            return {}
        taken = list(islice(self._rows, rows))
        if len(taken) < rows:
            raise PetError(f"{_NAME}: {self._source.shown}: changed while it was read; run the command again")
        return column_values(taken if positions is None else [taken[i] for i in positions], self.names)


def keep_columns(
    source: str, table: TableOptions, mapping: Mapping[str, str], output: Sequence[OutputColumn], *, typed: bool
) -> KeptColumns:
    """Open the kept columns of a table.

    Parameters
    ----------
    source : str
        As for `pet.data.read.read_table`.
    table : TableOptions
        How to read the table; its ``keep`` is as for `choose_columns`.
    mapping : mapping of str to str
        Field -> column that it is read from.
    output : sequence of OutputColumn
        The other columns of the output.
    typed : bool
        Whether the output needs the types of the columns, as Parquet does.

    Raises
    ------
    PetError
        If there is no such column, or the output has one of this name already.
    """
    if not table.keep:
        return KeptColumns(None, ())
    refuse_many_texts("--keep", mapping)
    opened = open_source(source, _NAME, table.table_format, mapping)
    names = choose_columns(table.keep, column_names(opened) or [], opened.shown)
    refuse_taken(names, output)
    return KeptColumns(opened, output_columns(opened, names, _NAME, typed=typed))
