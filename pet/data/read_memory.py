"""Read a table in memory as `pet.data.read` reads a file: with ids, labels, and columns of other names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pet.data.columns import Layout, lay_out, shorten
from pet.data.label_codes import LabelCodes
from pet.data.label_sets import LabelSets
from pet.data.memory import named_columns, refuse_lengths
from pet.data.problems import Problems
from pet.data.row_reader import checked_row
from pet.data.source import Source
from pet.data.spill import batch_of, dataset_of
from pet.errors import PetError

if TYPE_CHECKING:
    import datasets

Records = Iterator[Mapping[str, Any]]


def read_memory(
    table: Any, fields: Sequence[str], codes: LabelCodes | LabelSets | None, columns: Mapping[str, str], name: str
) -> datasets.Dataset:
    """Return the table of a data frame, a mapping of columns, an Arrow table, a data set, or a list of mappings.

    Parameters
    ----------
    table : the values
    fields : text columns
    codes : positions of the labels; None: do not read labels
    columns : field (or ``label``, ``id``) -> column
    name : what messages call the table

    Raises
    ------
    PetError
        With every mistake, as for a file. Rows are counted from 0.

    Examples
    --------
    >>> table = [{"text": "a", "y": 1.0}, {"text": "b", "y": True}]
    >>> read_memory(table, ["text"], LabelCodes(["0", "1"], {"True": "1"}), {"label": "y"}, "train")["label"][:]
    [1, 1]
    """
    kind = type(table).__name__
    problems = Problems(Source("memory", kind), name)
    layout, records = _open(table, fields, codes, columns, name)
    rows: list[tuple[Any, ...]] = []
    first: dict[str, int] = {}
    for number, record in enumerate(inner for outer in records for inner in layout.rows(outer)):
        row = checked_row((0, number), record, layout, problems)
        if row is None:
            continue
        row_id = str(number) if layout.id_column is None else row[0]
        if first.setdefault(row_id, number) != number:
            cure = "make the ids unique, or number the rows with columns={'id': ''}"
            message = f"has the same id {row_id[:60]!r} as row {first[row_id]}; {cure}"
            problems.add((0, number), "duplicate ids", message, row_id)
        rows.append((row_id, *row[1:]))
    problems.raise_if_any()
    if not rows:
        raise PetError(f"{name}: {kind}: is empty; it needs at least one row")
    return dataset_of([batch_of(rows, layout.schema)], layout.schema)


def _open(
    table: Any, fields: Sequence[str], codes: LabelCodes | LabelSets | None, columns: Mapping[str, str], name: str
) -> tuple[Layout, Records]:
    """Find the columns of a table; return how to read them, and its rows."""
    place = f"{name}: {type(table).__name__}"
    named = named_columns(table, name)
    if named is None:
        rows = _mappings(table, name)
        header = list(dict.fromkeys(key for row in rows for key in row if isinstance(key, str)))
        return lay_out(header, fields, codes, columns, place, strict=True), iter(rows)
    names, column = named
    header = [other if isinstance(other, str) else "" for other in names]
    layout = lay_out(header, fields, codes, columns, place, strict=True)
    values = [column(header.index(wanted)) for wanted in layout.file_columns]
    refuse_lengths(layout.file_columns, values, place)
    return layout, (dict(zip(layout.file_columns, row, strict=True)) for row in zip(*values, strict=True))


def _mappings(table: Any, name: str) -> list[Mapping[str, Any]]:
    if not isinstance(table, Sequence) or isinstance(table, (str, bytes)):
        raise PetError(
            f"{name}: is a {type(table).__name__}; give a file, a data frame, a data set, an Arrow table, a mapping of "
            "columns, or a list of mappings"
        )
    for number, row in enumerate(table):
        if not isinstance(row, Mapping):
            raise PetError(f"{name}: row {number} (counted from 0) is {shorten(repr(row))}, not a mapping of columns")
    if not table:
        raise PetError(f"{name}: is empty; it needs at least one row")
    return list(table)
