"""Read soft labels from Parquet files, a few hundred thousand rows at once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pet.data.columns import same_columns, shorten, some, two_columns
from pet.data.source import first_line
from pet.data.values import is_missing_label
from pet.ensemble.soft_label_rows import (
    LOGITS,
    NO_ID,
    NO_PROBABILITIES,
    NOT_NUMBERS,
    NOT_ONE,
    NOTHING,
    ROUNDING,
    TWICE,
    RowReader,
    contradiction,
    other_labels,
    position,
    unknown_label,
)
from pet.ensemble.soft_label_store import SoftLabelPart
from pet.errors import PetError
from pet.spelling import match_all

Array = NDArray[Any]
PART_ROWS = 1 << 18
PART_NUMBERS = 1 << 22  # probabilities


def parquet_labels(path: Path, names: Sequence[str] = ()) -> list[str]:
    """Return the labels of a file, in the order of its probabilities; `names` as for `read_parquet_file`."""
    schema = pq.read_schema(path)
    columns, order = _columns(path, schema), _stored_labels(schema)
    if order is None and "probabilities" not in columns:
        found: set[str] = set()
        for _, table in _tables(path, columns, 1):
            found |= set(pc.unique(_label_texts(path, table["label"], names).drop_null()).to_pylist())
        order = sorted(found)
    if order is None:
        raise PetError(f"{path}: does not name the labels of its probabilities; name them with --task")
    return order


def read_parquet_file(path: Path, labels: Sequence[str], names: Sequence[str] = ()) -> Iterator[SoftLabelPart]:
    """Yield the soft labels of one file in parts.

    Parameters
    ----------
    path : the file
    labels : the order of the labels to return
    names : names of the integers in the column ``label``, if the file has them

    Yields
    ------
    SoftLabelPart
        Rows add up to 1, unless the file has a column ``labels``.
    """
    schema = pq.read_schema(path)
    several, there = lists_labels(schema), _columns(path, schema)
    stored = _stored_labels(schema)
    order = list(labels) if stored is None else stored
    places = None if order == list(labels) else match_all(order, labels)
    for start, columns in _tables(path, there, len(order)):
        part = _Part(path, start)
        ids = _ids(part, columns["id"])
        texts = _label_texts(path, columns["label"], names) if "label" in there else pa.nulls(len(ids), pa.string())
        if several:
            part.refuse(_missing(columns["probabilities"]), NO_PROBABILITIES)
        matrix, certain = _matrix_of(part, columns, ids, texts, order, independent=several)
        if order != list(labels):
            if places is None:
                raise PetError(f"{path}: {other_labels(order, labels)}")
            matrix = matrix[:, places]
        yield SoftLabelPart(ids, matrix if several else matrix / matrix.sum(axis=1, keepdims=True), certain)


def _columns(path: Path, schema: pa.Schema) -> list[str]:
    """Return the columns to read; refuse a file without them."""
    wanted = ("id", "probabilities") if lists_labels(schema) else ("id", "probabilities", "label")
    there = [name for name in wanted if name in schema.names]
    if "id" not in there or len(there) < 2:
        missing = [name for name in ("id", "probabilities") if name not in there]
        raise PetError(f"{path}: has no column {' and no column '.join(missing)}; its columns are {some(schema.names)}")
    for name in there:
        if schema.names.count(name) > 1:
            raise PetError(f"{path}: {two_columns(same_columns(name, schema.names))}")
    if "probabilities" not in there and "logits" in schema.names:
        raise PetError(f"{path}: {LOGITS}")
    return there


def _tables(path: Path, columns: Sequence[str], width: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of the first row and the columns of each part of a file."""
    rows, start = max(1, min(PART_ROWS, PART_NUMBERS // width)), 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=rows, columns=list(columns)):
                yield start, {name: batch.column(batch.schema.get_field_index(name)) for name in columns}
                start += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise PetError(f"{path}: is not a complete Parquet file ({first_line(error)}); write it again") from error


@dataclass(frozen=True)
class _Part:
    """A part of a file, which starts with a row, counted from 0."""

    path: Path
    start: int

    def refuse(self, wrong: Any, problem: str, rows: Array | None = None) -> None:
        """Raise a `PetError` with the first wrong row and how many there are.

        `rows` are the numbers of the rows in the part, if not all.
        """
        wrong = np.asarray(wrong, dtype=bool)
        if wrong.any():
            first = self.start + int(wrong.argmax() if rows is None else rows[wrong.argmax()])
            others = int(wrong.sum()) - 1
            more = f" [and {others:,} more {'row' if others == 1 else 'rows'}]" if others else ""
            raise PetError(f"{self.path}: row {first + 1}: {problem}{more}")


def lists_labels(schema: pa.Schema) -> bool:
    """Return True if a file has lists in a column `labels`, so that a text may have several."""
    return schema.names.count("labels") == 1 and _is_list(schema.field("labels").type)


def _stored_labels(schema: pa.Schema) -> list[str] | None:
    """Return the labels in order, from the metadata that this package writes; None for other files."""
    found = (schema.metadata or {}).get(b"labels")
    try:
        labels = json.loads(found) if found else None
    except (ValueError, RecursionError):
        return None
    return labels if isinstance(labels, list) and all(isinstance(label, str) for label in labels) else None


def _ids(part: _Part, column: Any) -> pa.Array:
    """Return the ids as text; refuse missing and repeated ones."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)):
        raise PetError(f"{part.path}: row 1: {NO_ID}")
    if column.null_count:
        row = int(np.argmax(pc.is_null(column).to_numpy(zero_copy_only=False)))
        raise PetError(f"{part.path}: row {part.start + row + 1}: {NO_ID}")
    texts = column.cast(pa.string())
    codes = texts.dictionary_encode()
    if len(codes.dictionary) < len(texts):
        repeated = np.ones(len(texts), dtype=bool)
        repeated[np.unique(codes.indices.to_numpy(), return_index=True)[1]] = False
        row = int(repeated.argmax())
        raise PetError(f"{part.path}: row {part.start + row + 1}: {TWICE.format(id=shorten(texts[row].as_py()))}")
    return texts


def _label_texts(path: Path, column: Any, names: Sequence[str]) -> Any:
    """Return labels as text; null for a missing or empty one."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if names and pa.types.is_integer(column.type):
        inside = pc.and_(pc.greater_equal(column, 0), pc.less(column, len(names)))
        column = pa.array(names, pa.string()).take(pc.if_else(inside, column, None))
    try:
        texts = column.cast(pa.string())
    except pa.ArrowException:
        raise PetError(f"{path}: `label` contains {column.type}; it must contain texts") from None
    return pc.if_else(pc.equal(pc.utf8_trim_whitespace(texts), ""), None, texts)


def _matrix_of(
    part: _Part, columns: dict[str, Any], ids: pa.Array, texts: Any, order: list[str], *, independent: bool
) -> tuple[Array, int]:
    """Probabilities, shape (rows, L), checked as a whole and against labels; and how many rows have only a label."""
    column = columns.get("probabilities")
    if column is not None and pa.types.is_struct(column.type):
        _field_places(part.path, column.type, order)
    missing = np.ones(len(ids), dtype=bool) if column is None else _missing(column)
    label = _places(part, texts, order, missing)
    part.refuse(missing & (label < 0), NOTHING)
    matrix = np.zeros((len(ids), len(order)))
    matrix[missing, label[missing]] = 1
    if column is not None and not missing.all():
        there = np.flatnonzero(~missing)
        matrix[there] = _matrix(part, column.filter(pa.array(~missing)), order, there, independent=independent)
        _compare(part, matrix, label, ids, order)
    return matrix, int(missing.sum())


def _places(part: _Part, texts: Any, order: list[str], missing: Array) -> Array:
    """Return the position of each row's label, or -1. A number may be a position only next to probabilities."""
    rows = RowReader(order)
    distinct = pc.unique(texts.drop_null()).to_pylist()
    places = [rows.place(text) for text in distinct]
    at = np.array(pc.fill_null(pc.index_in(texts, pa.array(distinct, pa.string())), -1))
    for number, text in enumerate(distinct):
        if places[number] is None and is_missing_label(text):
            at[at == number] = -1
        elif places[number] is None:
            places[number] = position(text, len(order))
            part.refuse((at == number) & (missing | (places[number] is None)), unknown_label(text, order))
    return np.array([*(place or 0 for place in places), -1])[at]


def _missing(column: Any) -> Array:
    """Return whether each row lacks probabilities: null, an empty list, or only nulls."""
    if pa.types.is_struct(column.type):
        parts = [pc.is_valid(part).to_numpy(zero_copy_only=False) for part in column.flatten()]
        return np.asarray(~np.any(parts, axis=0)) if parts else np.ones(len(column), dtype=bool)
    if not _is_list(column.type):
        return np.asarray(pc.is_null(column).to_numpy(zero_copy_only=False))
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    valid = np.zeros(len(column), dtype=np.int64)
    if column.flatten().null_count:
        valid += np.bincount(
            pc.list_parent_indices(column).to_numpy(zero_copy_only=False),
            weights=pc.is_valid(column.flatten()).to_numpy(zero_copy_only=False),
            minlength=len(column),
        ).astype(np.int64)
    else:
        valid += lengths
    return np.asarray(valid == 0)


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _compare(part: _Part, matrix: Array, label: Array, ids: pa.Array, order: list[str]) -> None:
    """Refuse labels that are not the most probable ones."""
    highest = matrix.max(axis=1)
    own = matrix[np.arange(len(matrix)), np.maximum(label, 0)]
    wrong = (label >= 0) & (own < highest - ROUNDING)
    if wrong.any():
        row = int(wrong.argmax())
        likely = order[int(matrix[row].argmax())]
        part.refuse(wrong, contradiction(ids[row].as_py(), order[label[row]], likely, float(highest[row])))


def _matrix(part: _Part, column: Any, order: list[str], rows: Array, *, independent: bool) -> Array:
    """Return the checked probabilities as an array of shape (rows, L)."""
    kind, width = column.type, len(order)
    not_numbers = NOT_NUMBERS.format(width=width)
    if pa.types.is_struct(kind):
        flat, places = column.flatten(), _field_places(part.path, kind, order)
        matrix = np.stack([_floats(flat[place], f"{part.path}: row 1: {not_numbers}") for place in places], axis=1)
    elif _is_list(kind):
        lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
        part.refuse(lengths != width, not_numbers, rows)
        matrix = _floats(column.flatten(), f"{part.path}: row 1: {not_numbers}").reshape(-1, width)
    else:
        raise PetError(f"{part.path}: row 1: {not_numbers}")
    part.refuse(np.asarray(~((matrix >= 0) & (matrix <= 1)).all(axis=1)), not_numbers, rows)
    sums = matrix.sum(axis=1)
    wrong = np.abs(sums - 1) > ROUNDING
    if wrong.any() and not independent:
        part.refuse(wrong, NOT_ONE.format(total=sums[wrong.argmax()]), rows)
    return matrix


def _field_places(path: Path, kind: Any, order: list[str]) -> list[int]:
    """Return the position of each label among the fields of a struct."""
    names = [kind.field(i).name for i in range(kind.num_fields)]
    places = match_all(names, order)
    if places is None:
        raise PetError(f"{path}: row 1: {other_labels(names, order)}")
    return places


def _floats(column: Any, problem: str) -> Array:
    """Return numbers as float64, with NaN for null."""
    kind = column.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
        raise PetError(problem)
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
