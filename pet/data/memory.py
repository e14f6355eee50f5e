"""Turn texts in memory into the table that a file of them would give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pet.data.columns import as_text, shorten, some
from pet.data.spill import dataset_of
from pet.errors import PetError

if TYPE_CHECKING:
    import datasets

_NAMED = 10  # rows named in a message
_MISSING = ("NoneType", "NAType", "NaTType")  # the last two are from pandas


def table_of(
    texts: Any, fields: Sequence[str], *, labels: NDArray[Any] | None = None, name: str = "X"
) -> datasets.Dataset:
    """Return a table like that of `pet.data.read.read_table`, from values in memory.

    Parameters
    ----------
    texts : for one field a list, array or Series of str. For any number of fields a list of tuples (in
        the order of `fields`) or of mappings, an array with a column for each field, a DataFrame, or
        a table of `pet.data.read.read_table`. Numbers become text.
    fields : text columns of the task
    labels : positions in the task's labels, shape (rows,); None for unlabeled texts
    name : what messages call the texts

    Returns
    -------
    datasets.Dataset
        Columns ``id`` (row number from 0, as text), each field, and ``label`` when `labels` is given.

    Raises
    ------
    PetError
        With every row that is wrong (at most ten are named).
    """
    columns, problems = _columns(texts, list(fields), name)
    if problems:
        more = [f"{name}: {len(problems)} rows in all are wrong"] if len(problems) > _NAMED else []
        raise PetError(problems[:_NAMED] + more)
    rows = len(columns[0])
    if not rows:
        raise PetError(f"{name} is empty (0 texts); give at least one text")
    if labels is not None and len(labels) != rows:
        raise PetError(f"{name} has {rows} texts, but there are {len(labels)} labels; give one for each text")
    arrays = [pa.array(list(map(str, range(rows))), pa.string())]
    arrays += [_array(column, field, name) for column, field in zip(columns, fields, strict=True)]
    kinds = [("id", pa.string()), *((field, pa.string()) for field in fields)]
    if labels is not None:
        arrays.append(pa.array(labels, pa.int64()))
        kinds.append(("label", pa.int64()))
    schema = pa.schema(kinds)
    return dataset_of([pa.RecordBatch.from_arrays(arrays, schema=schema)], schema)


def _columns(texts: Any, fields: list[str], name: str) -> tuple[list[list[Any]], list[str]]:
    """A list of values for each field, and the mistakes in them."""
    if hasattr(texts, "tocsr"):
        raise PetError(f"{name} is a sparse matrix, which does not hold texts; give the texts themselves")
    if texts is None or isinstance(texts, (str, bytes, Mapping)):
        raise PetError(f"{name} is a {type(texts).__name__}; give a list of texts, even if there is only one")
    names = getattr(texts, "column_names", None)  # of a data set
    if names is None:
        names = getattr(texts, "columns", None)  # of a data frame
    if names is not None:
        columns = _named_columns(texts, list(names), fields, name)
        checked = [_plain(values, [(field, i) for i in range(len(values))], name)
                   for field, values in zip(fields, columns, strict=True)]  # fmt: skip
        return [values for values, _ in checked], [text for _, wrong in checked for text in wrong]
    if getattr(texts, "ndim", 1) == 0:
        raise PetError(f"{name} is a single value; give a list of texts")
    try:
        rows = texts.tolist() if isinstance(texts, np.ndarray) else list(texts)
    except TypeError:
        raise PetError(f"{name} is a {type(texts).__name__}; give a list of texts") from None
    return _from_rows(rows, fields, name)


def _named_columns(texts: Any, names: list[Any], fields: list[str], name: str) -> list[list[Any]]:
    """The columns of a data set or data frame: by name, or in order if they have no names."""
    if all(field in names for field in fields):
        return [list(texts[field]) for field in fields]
    if len(names) == len(fields) and not any(isinstance(column, str) for column in names):
        return [list(texts[column]) for column in names]
    missing = [repr(field) for field in fields if field not in names]
    there = some(map(str, names))
    raise PetError(f"{name}: there is no column {', '.join(missing)}; the columns are {there}; rename one")


def _from_rows(rows: list[Any], fields: list[str], name: str) -> tuple[list[list[Any]], list[str]]:
    if len(fields) == 1 and all(isinstance(row, str) for row in rows):
        return [[str(row) for row in rows]], []
    columns: list[list[Any]] = [[] for _ in fields]
    problems = []
    for number, row in enumerate(rows):
        values = _row(row, fields)
        if values is None:
            what = shorten(repr(row))
            problems.append(f"{name}: row {number} (counted from 0) is {what}; {_wanted(fields)}")
            continue
        texts, wrong = _plain(values, [(field, number) for field in fields], name)
        problems += wrong
        for column, text in zip(columns, texts, strict=True):
            column.append(text)
    return columns, problems


def _row(row: Any, fields: list[str]) -> list[Any] | None:
    """The values of one row in the order of the fields; None if it has others."""
    if isinstance(row, Mapping):
        return [row[field] for field in fields] if all(field in row for field in fields) else None
    if isinstance(row, np.ndarray):
        row = row.tolist()
    if isinstance(row, (list, tuple)):
        return list(row) if len(row) == len(fields) else None
    return [row] if len(fields) == 1 else None


def _wanted(fields: list[str]) -> str:
    if len(fields) == 1:
        return f"give a text, or a mapping with the key {fields[0]!r}"
    return f"the task has {len(fields)} fields: give a tuple or a mapping of {', '.join(fields)}"


def _plain(values: Sequence[Any], places: Sequence[tuple[str, int]], name: str) -> tuple[list[str], list[str]]:
    """The texts of some values, and the mistakes in them."""
    texts, problems = [], []
    for value, (field, number) in zip(values, places, strict=True):
        text = _text(value)
        if text is None:
            kind = type(value).__name__
            what = "missing (None or NaN)" if kind in _MISSING or _is_nan(value) else f"a {kind}"
            problems.append(f"{name}: row {number} (counted from 0): {field} is {what}; give a text")
        texts.append(text or "")
    return texts, problems


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, np.generic):
        value = value.item()
    return as_text(value) if isinstance(value, (bool, int, float)) and not _is_nan(value) else None


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and value != value


def _array(values: list[str], field: str, name: str) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        bad = next(i for i, text in enumerate(values) if not _is_unicode(text))
        raise PetError(
            f"{name}: row {bad} (counted from 0): {field} holds half a character (a lone surrogate); "
            "decode the text with errors='replace'"
        ) from None


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
