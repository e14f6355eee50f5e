"""Read soft labels from files: ours, and any Parquet, JSON lines or CSV file with ids and probabilities."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pet.data.columns import Layout, near, shorten, some
from pet.data.open_source import open_source
from pet.data.problems import Place, Problems
from pet.data.row_reader import records
from pet.data.source import Source, column_names, first_line
from pet.data.table_format import DETECT, TableFormat
from pet.errors import PetError
from pet.store.tables import PROBABILITY_COLUMN

Array = NDArray[Any]
_ROUNDING = 1e-3  # how far the sum of a row's probabilities may be from 1
_NO_ID = "`id` must be a text or a whole number"
_TWICE = "the id {id} appears more than once; ids must be unique"
_NOT_NUMBERS = "`probabilities` must be {width} numbers from 0 to 1, one for each label"
_NOT_ONE = "the probabilities add up to {total:.4f}; they must add up to 1"
_BEFORE, _AFTER = PROBABILITY_COLUMN.split("{}")


@dataclass(frozen=True)
class SoftLabelTable:
    """Soft labels that were read from a file.

    Attributes
    ----------
    ids : list of str
    probabilities : float64 array of shape (rows, L); rows add up to 1
    labels : the order of the columns
    """

    ids: list[str]
    probabilities: Array
    labels: list[str]


def read_soft_labels(
    path: str | Path, labels: Sequence[str] | None = None, *, table_format: TableFormat = DETECT
) -> SoftLabelTable:
    """Read ids and probabilities from a Parquet, JSON lines or CSV file.

    JSON lines hold ``id`` and ``probabilities``, a mapping of label to probability, or a list in the order of
    `labels`. CSV and TSV files hold ``id`` and for each label a column ``p(LABEL)``, or one with the name of the
    label if `labels` are given. Probabilities that do not add up to 1 are refused, except for rounding.

    Parameters
    ----------
    path : str or Path
        A file, or a folder of Parquet files as `pet label` writes on a cluster.
    labels : sequence of str, optional
        The labels in the order of the columns to return; default: as in the file.
    table_format : TableFormat
        Encoding, delimiter and quoting; what is not given is detected.

    Returns
    -------
    SoftLabelTable
        ``ids``, ``probabilities`` of shape (rows, L), and ``labels``.

    Raises
    ------
    PetError
        Naming the file, the line and the cure.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "labels.csv"
    ...     _ = path.write_text("id,p(good),p(bad)\\nr1,0.75,0.25\\n")
    ...     read_soft_labels(path, ["bad", "good"]).probabilities.tolist()
    [[0.25, 0.75]]
    """
    source = open_source(os.fspath(path), "labels", table_format)
    if source.kind == "parquet":
        return _read_parquet(source, labels)
    problems = Problems(source, "labels")
    if source.kind in ("csv", "tsv"):
        columns = _csv_columns(source, labels)
        return _collect(_csv_rows(source, columns, problems), list(columns), problems)
    order = list(labels) if labels else _first_labels(source)
    return _collect(_json_rows(source, problems), order, problems)


# Parquet: whole columns at once.


def _read_parquet(source: Source, labels: Sequence[str] | None) -> SoftLabelTable:
    """All files of a source one after another; files without rows are skipped."""
    parts: list[SoftLabelTable] = []
    for path in source.paths:
        if pq.read_metadata(path).num_rows:
            parts.append(_read_parquet_file(path, labels or (parts[0].labels if parts else None)))
    ids = [row_id for part in parts for row_id in part.ids]
    if len(parts) > 1:
        seen: set[str] = set()
        for row_id in ids:
            if row_id in seen:
                raise PetError(f"{source.shown}: {_TWICE.format(id=shorten(row_id))}")
            seen.add(row_id)
    return SoftLabelTable(ids, np.concatenate([part.probabilities for part in parts]), parts[0].labels)


def _read_parquet_file(path: Path, labels: Sequence[str] | None) -> SoftLabelTable:
    schema = pq.read_schema(path)
    missing = [name for name in ("id", "probabilities") if name not in schema.names]
    if missing:
        raise PetError(f"{path}: has no column {' and no column '.join(missing)}; its columns are {some(schema.names)}")
    order = _stored_labels(schema) or (list(labels) if labels else None)
    if order is None:
        raise PetError(f"{path}: does not name the labels of its probabilities; name them with --task")
    try:
        with pq.ParquetFile(path) as file:
            table = file.read(columns=["id", "probabilities"])
    except (pa.ArrowException, OSError) as error:
        raise PetError(f"{path}: is not a complete Parquet file ({first_line(error)}); write it again") from error
    ids = _arrow_ids(path, table["id"].combine_chunks())
    matrix = _arrow_matrix(path, table["probabilities"].combine_chunks(), order)
    if labels and list(labels) != order:
        if set(labels) != set(order):
            raise PetError(f"{path}: {_other_labels(order, labels)}")
        matrix = matrix[:, [order.index(label) for label in labels]]
        order = list(labels)
    return SoftLabelTable(ids, matrix / matrix.sum(axis=1, keepdims=True), order)


def _stored_labels(schema: pa.Schema) -> list[str] | None:
    """The order of the labels, from the metadata that this package writes; None in other files."""
    found = (schema.metadata or {}).get(b"labels")
    try:
        labels = json.loads(found) if found else None
    except ValueError:
        return None
    return labels if isinstance(labels, list) and all(isinstance(label, str) for label in labels) else None


def _arrow_ids(path: Path, column: Any) -> list[str]:
    """The ids as text, none missing and none twice. No Python object is made before that is known."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)):
        raise PetError(f"{path}: row 1: {_NO_ID}")
    if column.null_count:
        row = int(np.argmax(pc.is_null(column).to_numpy(zero_copy_only=False))) + 1
        raise PetError(f"{path}: row {row}: {_NO_ID}")
    texts = column.cast(pa.string())
    codes = texts.dictionary_encode()
    if len(codes.dictionary) < len(texts):
        repeated = np.ones(len(texts), dtype=bool)
        repeated[np.unique(codes.indices.to_numpy(), return_index=True)[1]] = False
        row = int(repeated.argmax())
        raise PetError(f"{path}: row {row + 1}: {_TWICE.format(id=shorten(texts[row].as_py()))}")
    ids: list[str] = texts.to_pylist()
    return ids


def _arrow_matrix(path: Path, column: Any, order: list[str]) -> Array:
    """Probabilities as an array of shape (rows, L), checked as a whole."""
    kind, width = column.type, len(order)
    not_numbers = _NOT_NUMBERS.format(width=width)
    if pa.types.is_struct(kind):
        names = [kind.field(i).name for i in range(kind.num_fields)]
        if set(names) != set(order):
            raise PetError(f"{path}: row 1: {_other_labels(names, order)}")
        flat = dict(zip(names, column.flatten(), strict=True))  # a row that is null has null in each
        matrix = np.stack([_floats(flat[label], f"{path}: row 1: {not_numbers}") for label in order], axis=1)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lengths = pc.fill_null(pc.list_value_length(column), -1).to_numpy(zero_copy_only=False)
        _refuse_rows(path, lengths != width, not_numbers)
        matrix = _floats(column.flatten(), f"{path}: row 1: {not_numbers}").reshape(-1, width)
    else:
        raise PetError(f"{path}: row 1: {not_numbers}")
    _refuse_rows(path, np.asarray(~((matrix >= 0) & (matrix <= 1)).all(axis=1)), not_numbers)
    sums = matrix.sum(axis=1)
    wrong = np.abs(sums - 1) > _ROUNDING
    if wrong.any():
        _refuse_rows(path, wrong, _NOT_ONE.format(total=sums[wrong.argmax()]))
    return matrix


def _floats(column: Any, problem: str) -> Array:
    """Numbers as float64, with NaN for null."""
    kind = column.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
        raise PetError(problem)
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _refuse_rows(path: Path, wrong: Array, problem: str) -> None:
    if wrong.any():
        raise PetError(f"{path}: row {int(wrong.argmax()) + 1}: {problem}")


# Other formats: row by row, with every mistake named.

Rows = Iterator[tuple[Place, Mapping[str, Any]]]


def _first_labels(source: Source) -> list[str]:
    """The order of the labels in the first row."""
    problems = Problems(source, "labels")
    first = next(_json_rows(source, problems), None)
    problems.raise_if_any()
    if first is None:
        raise PetError(f"labels: {source.shown}: is empty; it needs at least one row")
    place, row = first
    probabilities = row.get("probabilities")
    if not isinstance(probabilities, dict):
        raise PetError(
            f"labels: {source.where(place)}: `probabilities` must map labels to numbers, or be a list of numbers whose "
            "labels are named with --task"
        )
    return list(probabilities)


def _json_rows(source: Source, problems: Problems) -> Rows:
    layout = Layout({name: name for name in ("id", "probabilities")}, None, None)
    return records(source, layout, problems, numbers=True)


def _csv_columns(source: Source, labels: Sequence[str] | None) -> dict[str, str]:
    """Label -> column of its probability."""
    place = f"labels: {source.shown}"
    header = column_names(source) or []
    if "id" not in header:
        raise PetError(f"{place}: has no column 'id'{near('id', header)}; its columns are {some(header)}")
    found = {
        column[len(_BEFORE) : len(column) - len(_AFTER)]: column
        for column in header
        if column.startswith(_BEFORE) and column.endswith(_AFTER)
    }
    if labels and not found:
        found = {label: label for label in labels if label in header}
    if not found:
        raise PetError(
            f"{place}: has no probabilities; it needs a column {PROBABILITY_COLUMN.format('LABEL')} for each label "
            f"(or name the labels with --task), but its columns are {some(header)}"
        )
    if labels and set(labels) != set(found):
        raise PetError(f"{place}: {_other_labels(found, labels)}")
    return {label: found[label] for label in labels} if labels else found


def _csv_rows(source: Source, columns: Mapping[str, str], problems: Problems) -> Rows:
    layout = Layout({name: name for name in ("id", *columns.values())}, None, None)
    for place, row in records(source, layout, problems):
        yield place, {"id": row["id"] or None, "probabilities": [_number(row[column]) for column in columns.values()]}


def _number(text: str) -> float:
    """The number that a text is, NaN for any other."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _collect(rows: Rows, order: list[str], problems: Problems) -> SoftLabelTable:
    """The table of all rows; a `PetError` with every mistake."""
    ids: list[str] = []
    values: list[list[float]] = []
    seen: set[str] = set()
    known = set(order)
    for place, row in rows:
        row_id, given = row.get("id"), row.get("probabilities")
        text = str(row_id)
        if isinstance(row_id, bool) or not isinstance(row_id, (str, int)):
            problems.add(place, "id", _NO_ID)
        elif text in seen:
            problems.add(place, "ids that appear more than once", _TWICE.format(id=shorten(text)), text)
        elif isinstance(given, dict) and given.keys() != known:
            mistake = _other_labels(given, order)
            problems.add(place, "labels", mistake, mistake)
        else:
            listed: Any = [given[label] for label in order] if isinstance(given, dict) else given
            mistake = _mistake(listed, len(order))
            if mistake:
                problems.add(place, "probabilities", mistake, mistake)
            else:
                ids.append(text)
                values.append(listed)
                seen.add(text)
    problems.raise_if_any()
    if not ids:
        raise PetError(f"labels: {problems.source.shown}: is empty; it needs at least one row")
    matrix = np.asarray(values, dtype=np.float64)
    return SoftLabelTable(ids, matrix / matrix.sum(axis=1, keepdims=True), list(order))


def _mistake(given: Any, width: int) -> str:
    """What is wrong with a list of probabilities; empty if nothing is."""
    if not isinstance(given, list) or len(given) != width:
        return _NOT_NUMBERS.format(width=width)
    for p in given:
        if type(p) not in (float, int) or not 0 <= p <= 1:
            return _NOT_NUMBERS.format(width=width)
    total = sum(given)
    return _NOT_ONE.format(total=total) if abs(total - 1) > _ROUNDING else ""


def _other_labels(given: Iterable[str], order: Iterable[str]) -> str:
    given, order = list(given), list(order)
    parts = [f"lacks {some(sorted(set(order) - set(given)))}"] if set(order) - set(given) else []
    parts += [f"has also {some(sorted(set(given) - set(order)))}"] if set(given) - set(order) else []
    return f"its labels are not {some(order)}: it {' and '.join(parts)}; name the task that it was made for"
