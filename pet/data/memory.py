"""Turn texts in memory into the same table as a file of these texts.

Lists, arrays, data frames, mappings of columns, data sets and Arrow tables first become columns of Python values. The
code that checks files then checks the names of the columns and the values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pet.data.columns import composed, near, same_columns, shorten, some, two_columns
from pet.data.hub import class_names
from pet.data.problems import Problems
from pet.data.row_reader import checked_text
from pet.data.source import Source
from pet.data.spill import dataset_of
from pet.errors import PetError

if TYPE_CHECKING:
    import datasets

Columns = list[list[Any]]  # one list of values for each field


def table_of(
    texts: Any,
    fields: Sequence[str],
    *,
    labels: NDArray[Any] | None = None,
    name: str = "X",
    columns: Mapping[str, str] = {},
) -> datasets.Dataset:
    """Return a table like that of `pet.data.read.read_table`, from values in memory.

    Parameters
    ----------
    texts : for one field a list, array or Series of str. For any number of fields a list of tuples (in
        the order of `fields`) or of mappings, an array with a column for each field, a mapping of columns, a
        DataFrame, an Arrow table, or a data set such as `pet.data.read.read_table` returns. Numbers become text.
    fields : text columns of the task
    labels : positions in the task's labels, shape (rows,); 0 and 1 for each label, shape (rows, L), if a text may have
        several; None for unlabeled texts
    name : what messages call the texts
    columns : field -> its name in tables and mappings, as in a task file; those that lack it may have the field's own

    Returns
    -------
    datasets.Dataset
        Columns ``id`` (row number from 0, as text), each field, and ``label`` when `labels` is given.

    Raises
    ------
    PetError
        With every mistake: one message for each, with its first rows.

    Examples
    --------
    >>> table_of({"title": ["a", "b"], "text": ["c", "d"]}, ["text", "title"]).to_list()
    [{'id': '0', 'text': 'c', 'title': 'a'}, {'id': '1', 'text': 'd', 'title': 'b'}]
    """
    problems = Problems(Source("memory", type(texts).__name__), name)
    values = _columns(texts, list(fields), columns, problems)
    problems.raise_if_any()
    refuse_lengths(fields, values, name)
    rows = len(values[0])
    if not rows:
        raise PetError(f"{name} is empty (0 texts); give at least one text")
    if labels is not None and len(labels) != rows:
        raise PetError(f"{name} has {rows} texts, but there are {len(labels)} labels; give one for each text")
    arrays = [pa.array(list(map(str, range(rows))), pa.string())]
    arrays += [_strings(column, field, problems) for column, field in zip(values, fields, strict=True)]
    problems.raise_if_any()
    kinds = [("id", pa.string()), *((field, pa.string()) for field in fields)]
    if labels is not None:
        kind = pa.int64() if labels.ndim == 1 else pa.list_(pa.int8(), labels.shape[1])
        flat = pa.array(labels.reshape(-1), pa.int64() if labels.ndim == 1 else pa.int8())
        arrays.append(flat if labels.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, type=kind))
        kinds.append(("label", kind))
    schema = pa.schema(kinds)
    return dataset_of([pa.RecordBatch.from_arrays(arrays, schema=schema)], schema)


def refuse_lengths(names: Sequence[str], columns: Columns, place: str) -> None:
    """Refuse columns of different lengths."""
    lengths = {name: len(column) for name, column in zip(names, columns, strict=True)}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name!r} has {length}" for name, length in lengths.items())
        raise PetError(f"{place}: the columns have different numbers of rows: {shown}; make them equally long")


def listed(column: Any) -> list[Any]:
    """Return the values of a column, of any library, as Python objects.

    Raises
    ------
    TypeError
        If it cannot be iterated over.

    Examples
    --------
    >>> listed(np.array([1, 2])), listed(pa.array(["a", None]))
    ([1, 2], ['a', None])
    """
    if isinstance(column, np.ndarray) and column.dtype.kind in "mM":
        return list(column)  # `tolist` would turn them into nanoseconds
    for method in ("to_pylist", "tolist", "to_list"):  # Arrow; NumPy and pandas; other data frames
        if hasattr(column, method):
            return list(getattr(column, method)())
    return list(column)


def _columns(texts: Any, fields: list[str], columns: Mapping[str, str], problems: Problems) -> Columns:
    """Return the values of each field."""
    name, kind = problems.name, type(texts).__name__
    if hasattr(texts, "tocsr"):
        raise PetError(f"{name} is a sparse matrix, which cannot contain texts; give the texts themselves")
    if texts is None or isinstance(texts, (str, bytes)):
        raise PetError(f"{name} is a {kind}; give a list of texts, even if there is only one")
    if isinstance(texts, (set, frozenset)):
        raise PetError(f"{name} is a {kind}, whose texts have no order; give a list of texts")
    named = named_columns(texts, name)
    if named is not None:
        names, column = named
        return [column(i) for i in _places(names, fields, columns, name)]
    if getattr(texts, "ndim", 1) == 0:
        raise PetError(f"{name} is a single value; give a list of texts")
    try:
        rows = listed(texts)
    except TypeError:
        raise PetError(f"{name} is a {kind}; give a list of texts") from None
    return _from_rows(rows, fields, columns, problems)


def named_columns(texts: Any, name: str) -> tuple[list[Any], Callable[[int], list[Any]]] | None:
    """Return the names of the columns, and a function from the number of a column to its values.

    None if the columns have no names, as in a list of rows.
    """
    if isinstance(texts, Mapping):
        names = list(texts)
        if any(hasattr(texts[column], "column_names") for column in names):
            raise PetError(f"{name} is a {type(texts).__name__} of several tables; give one of them: {some(names)}")
        single = [column for column in names if isinstance(texts[column], (str, bytes)) or not _iterable(texts[column])]
        if single:
            raise PetError(f"{name} is a {type(texts).__name__} with one value for {single[0]!r}; give a list of texts")
        return names, lambda i: listed(texts[names[i]])
    if all(hasattr(texts, name) for name in ("features", "column_names", "with_format", "__len__")):
        return list(texts.column_names), lambda i: _of_dataset(texts, texts.column_names[i])
    if isinstance(texts, (pa.Table, pa.RecordBatch)):
        return list(texts.schema.names), lambda i: listed(texts.column(i))
    if isinstance(texts, np.ndarray) and texts.dtype.names is not None:
        names = list(texts.dtype.names)
        return names, lambda i: listed(texts[names[i]])
    if hasattr(texts, "columns"):
        names = list(texts.columns)
        return names, lambda i: listed(texts.iloc[:, i] if hasattr(texts, "iloc") else texts[names[i]])
    return None


def _iterable(value: Any) -> bool:
    return hasattr(value, "__iter__") and getattr(value, "ndim", 1) > 0


def _of_dataset(table: Any, column: str) -> list[Any]:
    """Return a column of a data set; numbers of classes become their names."""
    values = list(table.with_format(None)[column])
    names = class_names(table.features or {}).get(column)
    return values if names is None else [names[i] if isinstance(i, int) and 0 <= i < len(names) else i for i in values]


def _places(names: list[Any], fields: list[str], columns: Mapping[str, str], name: str) -> list[int]:
    """Return the number of each field's column: by name, or in order if the columns have no names."""
    header = [column if isinstance(column, str) else "" for column in names]
    if len(names) == len(fields) and not any(header):
        return list(range(len(names)))
    problems, places = [], []
    for field in fields:
        same = _same(field, header, columns)
        if len(same) > 1:
            problems.append(f"{name}: {two_columns(same)}")
        elif not same:
            there = f"{some(map(str, names))}{near(field, header)}"
            problems.append(f"{name}: has no column {field!r}; its columns are {there}; rename one")
        else:
            places.append(header.index(same[0]))
    if problems:
        raise PetError(problems)
    return places


def _from_rows(rows: list[Any], fields: list[str], columns: Mapping[str, str], problems: Problems) -> Columns:
    if len(fields) == 1 and all(isinstance(row, str) for row in rows):
        return [rows]
    found: Columns = [[] for _ in fields]
    for number, row in enumerate(rows):
        values = _row(row, fields, columns)
        if values is None:
            problems.add((0, number), "row", f"is {shorten(repr(row))}; {_wanted(fields)}")
            continue
        for column, value in zip(found, values, strict=True):
            column.append(value)
    return found


def _row(row: Any, fields: list[str], columns: Mapping[str, str]) -> list[Any] | None:
    """Return the values of a row in the order of the fields; None if it has other fields."""
    if hasattr(row, "_asdict"):  # a named tuple
        row = row._asdict()
    if isinstance(row, Mapping):
        own = not columns and all(field in row for field in fields)
        keys = fields if own else [_key(row, field, columns) for field in fields]
        return None if None in keys else [row[key] for key in keys]
    if isinstance(row, np.ndarray):
        row = listed(row)
    if isinstance(row, (list, tuple)):
        return list(row) if len(row) == len(fields) else None
    return [row] if len(fields) == 1 else None


def _key(row: Mapping[Any, Any], field: str, columns: Mapping[str, str]) -> str | None:
    same = _same(field, [key for key in row if isinstance(key, str)], columns)
    return same[0] if len(same) == 1 else None


def _same(field: str, names: Sequence[str], columns: Mapping[str, str]) -> list[str]:
    """Return the columns of a field, as `pet.data.columns.same_columns`: those named in the task, or else its own."""
    return (same_columns(columns[field], names) if field in columns else []) or same_columns(field, names)


def _wanted(fields: list[str]) -> str:
    if len(fields) == 1:
        return f"give a text, or a mapping with the key {fields[0]!r}"
    return f"the task has {len(fields)} fields: give a tuple or a mapping of {', '.join(fields)}"


def _strings(values: list[Any], field: str, problems: Problems) -> pa.Array:
    if set(map(type, values)) == {str}:
        with suppress(UnicodeEncodeError):  # a lone surrogate; the loop below finds its row
            return composed(pa.array(values, pa.string()))
    texts = [checked_text((0, number), field, value, problems) for number, value in enumerate(values)]
    return pa.array([text or "" for text in texts], pa.string())
