"""Read soft labels from files: ours, and any Parquet, JSON lines or CSV file with ids and probabilities or labels."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pet.data.columns import Layout, near, same_columns, shorten, some
from pet.data.open_source import open_source
from pet.data.problems import Place, Problems
from pet.data.row_reader import records
from pet.data.source import Source, column_names
from pet.data.table_format import DETECT, TableFormat
from pet.data.values import as_text
from pet.ensemble.soft_label_parquet import (
    PART_NUMBERS,
    PART_ROWS,
    lists_labels,
    parquet_labels,
    read_parquet_file,
)
from pet.ensemble.soft_label_rows import (
    LOGITS,
    NO_ID,
    TWICE,
    Contradiction,
    RowReader,
    is_empty,
    label_of,
    other_labels,
)
from pet.ensemble.soft_label_store import SoftLabelPart, SoftLabelStore, store_parts
from pet.errors import PetError
from pet.spelling import match_all
from pet.store.tables import PROBABILITY_COLUMN

Array = NDArray[Any]
_BEFORE, _AFTER = PROBABILITY_COLUMN.split("{}")


@dataclass(frozen=True)
class SoftLabelTable:
    """Soft labels that were read from a file.

    Attributes
    ----------
    ids : list of str
    probabilities : float64 array of shape (rows, L); rows add up to 1, unless labels are independent
    labels : the order of the columns
    certain : number of rows with only a label, which gets probability 1
    independent : a text may have any number of labels
    """

    ids: list[str]
    probabilities: Array
    labels: list[str]
    certain: int = 0
    independent: bool = False


def read_soft_labels(
    path: str | Path, labels: Sequence[str] | None = None, *, table_format: TableFormat = DETECT
) -> SoftLabelTable:
    """Read ids and probabilities from a Parquet, JSON lines or CSV file, and check them.

    JSON lines hold ``id`` and ``probabilities``, a mapping of label to probability, or a list in the order of
    `labels`. CSV and TSV files hold ``id`` and for each label a column ``p(LABEL)``, or one with the name of the
    label if `labels` are given. Probabilities that do not add up to 1 are refused, except for rounding.

    A file with a column `labels` holds texts that may have several labels. Their probabilities need not add up to 1.

    A row without probabilities takes its ``label`` as certain. If a row has both, its label must be the most probable
    one: someone may have corrected the labels but not the probabilities, or vice versa.

    Parameters
    ----------
    path : str or Path
        A file, or a folder of Parquet files as `pet label` writes on a cluster.
    labels : sequence of str, optional
        The labels in the order of the columns to return; default: as in the file.
    table_format : TableFormat
        Encoding, delimiter and quoting; default: detected.

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
    store = open_soft_labels(path, labels, table_format=table_format)
    ids = [row_id for chunk in store.ids.chunks for row_id in chunk.to_pylist()]
    return SoftLabelTable(ids, np.concatenate(list(store.parts())), store.labels, store.certain, store.independent)


def open_soft_labels(
    path: str | Path, labels: Sequence[str] | None = None, *, table_format: TableFormat = DETECT
) -> SoftLabelStore:
    """Check soft labels and store them, in constant memory. Parameters and errors are those of `read_soft_labels`."""
    source = open_source(os.fspath(path), "labels", table_format)
    several = has_several(source)
    if source.kind == "parquet":
        order = list(labels) if labels else _parquet_labels(source)
        return store_parts(_parquet_parts(source, order), order, source.shown, independent=several)
    problems = Problems(source, "labels")
    if source.kind != "json" and "probabilities" not in (column_names(source) or ()):
        columns = _csv_columns(source, labels)
        order = list(columns) or list(labels or _only_labels(source))
        rows = _csv_rows(source, columns, problems)
    else:
        order = list(labels) if labels else _first_labels(source)
        rows = _json_rows(source, problems)
    parts = _parts(rows, RowReader(order, independent=several), problems)
    return store_parts(parts, order, source.shown, independent=several)


def has_several(source: Source) -> bool:
    """Return True if a text may have several labels: the file has lists in a column `labels`."""
    if "labels" not in (column_names(source) or []):
        return False
    if source.kind == "parquet":
        return lists_labels(pq.read_schema(source.paths[0]))
    rows = _records(source, ("labels",), Problems(source, "labels"))
    first = next((row for _, row in rows), {}).get("labels")
    return isinstance(first, list) or (isinstance(first, str) and first.startswith("["))


def _parquet_labels(source: Source) -> list[str]:
    """Return the labels of the first file with rows."""
    first = next(path for path in source.paths if pq.read_metadata(path).num_rows)
    return parquet_labels(first, source.class_names.get("label", ()))


def _parquet_parts(source: Source, order: Sequence[str]) -> Iterator[SoftLabelPart]:
    """Read all files of a source; skip files without rows."""
    for path in source.paths:
        if pq.read_metadata(path).num_rows:
            yield from read_parquet_file(path, order, source.class_names.get("label", ()))


# Other formats: row by row, with every mistake named.

Rows = Iterator[tuple[Place, Mapping[str, Any]]]


def _first_labels(source: Source) -> list[str]:
    """Return the labels in the order of the first row with probabilities; without such a row, all labels, sorted."""
    problems = Problems(source, "labels")
    for place, row in _json_rows(source, problems):
        probabilities = row.get("probabilities")
        if isinstance(probabilities, dict) and probabilities:
            return list(probabilities)
        if not is_empty(probabilities):
            raise PetError(
                f"labels: {source.where(place)}: `probabilities` must map labels to numbers, or be a list of numbers "
                "whose labels are named with --task"
            )
    problems.raise_if_any()
    return _only_labels(source)


def _only_labels(source: Source) -> list[str]:
    """Return the labels of a file without probabilities, sorted."""
    problems = Problems(source, "labels")
    found: set[str] = set()
    for _, row in _records(source, ("id", "label"), problems):
        try:
            found.add(label_of(row.get("label")) or "")
        except ValueError:
            continue  # named when the rows are read
    problems.raise_if_any()
    labels = sorted(found - {""})
    if not labels:
        raise PetError(f"labels: {source.shown}: has neither `probabilities` nor `label`; add one of them")
    return labels


def _json_rows(source: Source, problems: Problems) -> Rows:
    return _records(source, ("id", "probabilities", "label"), problems)


def _records(source: Source, names: Sequence[str], problems: Problems) -> Rows:
    """Yield the rows with some columns. JSON lines may have other columns than the first one."""
    header = names if source.kind == "json" else column_names(source) or ()
    return records(source, Layout({n: n for n in names if n in header}, None, None), problems, numbers=True)


def _csv_columns(source: Source, labels: Sequence[str] | None) -> dict[str, str]:
    """Map each label to the column of its probability; empty if the file has only a column `label`."""
    place = f"labels: {source.shown}"
    header = column_names(source) or []
    if "id" not in header:
        raise PetError(f"{place}: has no column 'id'{near('id', header)}; its columns are {some(header)}")
    found = {
        column[len(_BEFORE) : len(column) - len(_AFTER)]: column
        for column in header
        if column.startswith(_BEFORE) and column.endswith(_AFTER)
    }
    if labels and not found and "id" not in labels:  # a label may have this name, too
        found = {label: same[0] for label in labels if (same := same_columns(label, header))}
    if not found and "label" not in header:
        raise PetError(
            f"{place}: has no probabilities; it needs a column {PROBABILITY_COLUMN.format('LABEL')} for each label "
            f"(or name the labels with --task), or a column label, but its columns are {some(header)}"
        )
    if not found and "logits" in header:
        raise PetError(f"{place}: {LOGITS}")
    if not found or not labels:
        return found
    names = list(found)
    places = match_all(names, labels)
    if places is None:
        raise PetError(f"{place}: {other_labels(found, labels)}")
    return {label: found[names[i]] for label, i in zip(labels, places, strict=True)}


def _csv_rows(source: Source, columns: Mapping[str, str], problems: Problems) -> Rows:
    has_label = "label" in (column_names(source) or []) and "label" not in columns.values()
    names = ("id", *columns.values(), *(["label"] if has_label else []))
    for place, record in records(source, Layout({name: name for name in names}, None, None), problems):
        row = {name: as_text(record[name]) or "" for name in names}
        cells = [row[column] for column in columns.values()]
        filled = any(cell.strip() for cell in cells)
        yield (
            place,
            {
                "id": row["id"] or None,
                "probabilities": [_number(cell) for cell in cells] if filled else None,
                "label": row["label"] if has_label else None,
            },
        )


def _number(text: str) -> float:
    """Return the number in a text, or NaN if it is not a number."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _parts(rows: Rows, reader: RowReader, problems: Problems) -> Iterator[SoftLabelPart]:
    """Yield the rows in parts; raise a `PetError` with every mistake at the end."""
    ids: list[str] = []
    values: list[list[float]] = []
    seen: set[str] = set()
    some_rows, certain, most = False, 0, max(1, min(PART_ROWS, PART_NUMBERS // 4 // len(reader.order)))
    for place, row in rows:
        row_id = row.get("id")
        text = str(row_id)
        if isinstance(row_id, bool) or not isinstance(row_id, (str, int)):
            problems.add(place, "id", NO_ID)
        elif text in seen:
            problems.add(place, "ids that appear more than once", TWICE.format(id=shorten(text)), text)
        elif row.get("logits") is not None and is_empty(row.get("probabilities")):
            problems.add(place, "logits", LOGITS)
        else:
            try:
                found, alone = reader.read(text, row.get("probabilities"), row.get("label"))
            except Contradiction as error:
                problems.add(place, "contradiction", str(error))
                continue
            except ValueError as error:
                problems.add(place, "probabilities", str(error), str(error))
                continue
            ids.append(text)
            values.append(found)
            seen.add(text)
            certain += alone
            if len(ids) == most:
                yield _part(ids, values, certain, reader)
                ids, values, certain, seen, some_rows = [], [], 0, set(), True
    problems.raise_if_any()
    if ids:
        yield _part(ids, values, certain, reader)
    elif not some_rows:
        raise PetError(f"labels: {problems.source.shown}: is empty; it needs at least one row")


def _part(ids: list[str], values: list[list[float]], certain: int, reader: RowReader) -> SoftLabelPart:
    matrix = np.asarray(values, dtype=np.float64)
    if not reader.independent:
        matrix /= matrix.sum(axis=1, keepdims=True)
    return SoftLabelPart(pa.array(ids, pa.string()), matrix, certain)
