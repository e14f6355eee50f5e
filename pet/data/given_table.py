"""Check a table that is passed in Python instead of a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pet.data.columns import shorten, some
from pet.data.ids import IdLedger
from pet.data.pick import pick_columns
from pet.data.values import kind_of
from pet.errors import PetError

BATCH = 4096
_CURE = "read it with pet.read_table"


def check_given_table(
    table: Any, fields: Sequence[str], labels: int | None, name: str, *, several: bool = False
) -> None:
    """Refuse a table that does not have the form that `pet.data.read.read_table` gives.

    Parameters
    ----------
    table : datasets.Dataset
    fields : text columns of the task
    labels : number of labels of the task; None if the table needs no labels
    several : whether a text may have several labels
    name : what messages call the table

    Raises
    ------
    PetError
        If a column is missing or has another type, a value is missing, a label is not a position in the task's labels,
        or an id appears twice.

    Examples
    --------
    >>> import datasets
    >>> check_given_table(datasets.Dataset.from_dict({"id": ["a"], "text": ["b"]}), ["text"], None, "unlabeled")
    """
    if not hasattr(table, "with_format") or not hasattr(table, "column_names"):
        raise PetError(f"{name}: is a {type(table).__name__}, not a datasets.Dataset; {_CURE}")
    wanted = ["id", *fields, *(["label"] if labels is not None else [])]
    missing = [column for column in wanted if column not in table.column_names]
    if missing:
        raise PetError(f"{name}: has no column {some(missing)}; its columns are {some(table.column_names)}; {_CURE}")
    if not len(table):
        raise PetError(f"{name}: is empty; it needs at least one row")
    with IdLedger(name) as ledger:
        for start, batch in _batches(table, wanted):
            for column in wanted if not several else wanted[: len(fields) + 1]:
                _check_column(batch[column], column, f"{name}: row {{row}} (counted from 0)", start)
            if labels is not None and several:
                _check_sets(batch["label"], labels, name)
            elif labels is not None:
                _check_labels(batch["label"], labels, name, start)
            ledger.add(batch["id"])
        if ledger.duplicates():
            raise PetError(f"{name}: an id appears more than once; ids must be unique")


def _batches(table: Any, columns: list[str]) -> Iterator[tuple[int, dict[str, pa.ChunkedArray]]]:
    start = 0
    for part in pick_columns(table, columns).with_format("arrow").iter(batch_size=BATCH):
        yield start, {column: part.column(column) for column in columns}
        start += part.num_rows


def _check_column(values: pa.ChunkedArray, column: str, place: str, start: int) -> None:
    kind = values.type
    right = (
        pa.types.is_integer(kind) if column == "label" else pa.types.is_string(kind) or pa.types.is_large_string(kind)
    )
    if not right:
        first = shorten(str(values[0].as_py()))
        needs = "the position of the label in the task" if column == "label" else "text"
        raise PetError(f"{place.format(row=start)}: {column!r} is {first} ({kind}), but must be {needs}; {_CURE}")
    if values.null_count:
        row = start + pc.index(pc.is_null(values), True).as_py()
        raise PetError(f"{place.format(row=row)}: {column!r} is {kind_of(None)}; {_CURE}")


def _check_labels(values: pa.ChunkedArray, labels: int, name: str, start: int) -> None:
    outside = pc.or_(pc.less(values, 0), pc.greater_equal(values, labels))
    row = pc.index(outside, True).as_py()
    if row >= 0:
        raise PetError(
            f"{name}: row {start + row} (counted from 0): label {values[row]} is not a position in the task's {labels} "
            f"labels, counted from 0; {_CURE}"
        )


def _check_sets(values: pa.ChunkedArray, labels: int, name: str) -> None:
    kind = values.type
    right = pa.types.is_fixed_size_list(kind) and kind.list_size == labels and pa.types.is_integer(kind.value_type)
    if not right:
        raise PetError(
            f"{name}: 'label' has the type {kind}, but must hold 0 or 1 for each of the task's {labels} labels, "
            f"because a text may have several; {_CURE}"
        )
    flat = values.combine_chunks().flatten()
    known = not values.null_count and not flat.null_count
    if not known or pc.any(pc.or_(pc.less(flat, 0), pc.greater(flat, 1))).as_py():
        raise PetError(f"{name}: 'label' has values besides 0 and 1; {_CURE}")
