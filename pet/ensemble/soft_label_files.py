"""Soft labels out of files: ours, and anyone's Parquet or JSONL with ids and probabilities."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pet.errors import PetError

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[Any]
_ROUNDING = 1e-3  # how far from 1 probabilities may add up
_INCOMPLETE = "each {unit} needs an `id` (text or a whole number) and `probabilities`"
_TWICE = "the id {id!r} stands in the file twice; ids must be unique"
_NOT_NUMBERS = "`probabilities` must be {width} numbers from 0 to 1, one for each label"
_NOT_ONE = "the probabilities add up to {total:.4f}, and must add up to 1"


@dataclass(frozen=True)
class SoftLabelTable:
    """Soft labels that were read from a file.

    Attributes
    ----------
    ids : list of str
    probabilities : float64 array of shape (rows, L); rows add up to 1
    labels : their order
    """

    ids: list[str]
    probabilities: Array
    labels: list[str]


def read_soft_labels(path: str | Path, labels: Sequence[str] | None = None) -> SoftLabelTable:
    """Read ids and probabilities from a Parquet or JSONL file.

    JSONL lines hold ``id`` and ``probabilities``, a mapping of label to probability, or a list in the
    order of `labels`. Numbers that do not add up to 1 are refused, small rounding aside.

    Parameters
    ----------
    path : a .parquet or .jsonl file, or a folder of .parquet files as `pet label` leaves on a cluster
    labels : the labels in the order in which the probabilities shall be; None: as in the file

    Returns
    -------
    SoftLabelTable
        ``ids``, ``probabilities`` of shape (rows, L), and ``labels``.

    Raises
    ------
    PetError
        Naming file, line and cure.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path, labels)
    if not path.is_file():
        raise PetError(f"{path}: there is no such file of soft labels")
    if path.suffix == ".parquet":
        return _read_parquet(path, labels)
    if path.suffix in (".jsonl", ".json"):
        return _read_jsonl(path, labels)
    raise PetError(f"{path}: soft labels are read from .parquet or .jsonl files")


def _read_folder(path: Path, labels: Sequence[str] | None) -> SoftLabelTable:
    """The files of a folder under each other; those without rows, as of shards that were not sure, are passed over."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted(path.glob("*.parquet"))
    if not files:
        raise PetError(f"{path}: is a folder without *.parquet files; name a file of soft labels, or a folder of them")
    parts: list[SoftLabelTable] = []
    for file in files:
        try:
            empty = not pq.read_metadata(file).num_rows
        except (pa.ArrowException, OSError):
            empty = False  # reading it says what is wrong
        if not empty:
            parts.append(_read_parquet(file, labels or (parts[0].labels if parts else None)))
    if not parts:
        raise PetError(f"{path}: its files are empty")
    ids = [row_id for part in parts for row_id in part.ids]
    seen: set[str] = set()
    for row_id in ids:
        if row_id in seen:
            raise PetError(f"{path}: {_TWICE.format(id=row_id)}")
        seen.add(row_id)
    return SoftLabelTable(ids, np.concatenate([part.probabilities for part in parts]), parts[0].labels)


def _read_parquet(path: Path, labels: Sequence[str] | None) -> SoftLabelTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            missing = [name for name in ("id", "probabilities") if name not in schema.names]
            if missing:
                raise PetError(
                    f"{path}: there is no column {' and no column '.join(missing)}; there are {schema.names}"
                )
            table = file.read(columns=["id", "probabilities"])
    except (pa.ArrowException, OSError) as error:
        raise PetError(f"{path}: this is no Parquet file ({str(error).splitlines()[0][:200]})") from error
    stored = _stored_labels(schema)
    order = stored or (list(labels) if labels else None)
    if order is None:
        raise PetError(f"{path}: the file does not say which labels its probabilities belong to; give them with --task")
    if not len(table):
        raise PetError(f"{path}: the file is empty")
    ids = _arrow_ids(path, table["id"].combine_chunks())
    matrix = _arrow_matrix(path, table["probabilities"].combine_chunks(), order)
    if labels and list(labels) != order:
        if set(labels) != set(order):
            raise PetError(f"{path}: {_other_labels(order, labels)}")
        matrix = matrix[:, [order.index(label) for label in labels]]
        order = list(labels)
    return SoftLabelTable(ids, matrix / matrix.sum(axis=1, keepdims=True), order)


def _stored_labels(schema: pa.Schema) -> list[str] | None:
    """The labels' order in the metadata of a file of ours; None in other files."""
    found = (schema.metadata or {}).get(b"labels")
    try:
        labels = json.loads(found) if found else None
    except ValueError:
        return None
    return labels if isinstance(labels, list) and all(isinstance(label, str) for label in labels) else None


def _arrow_ids(path: Path, column: Any) -> list[str]:
    """The ids as text, all there and no two alike. No Python object is made before that is known."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)):
        raise PetError(f"{path}: row 1: {_INCOMPLETE.format(unit='row')}")
    if column.null_count:
        row = int(np.argmax(pc.is_null(column).to_numpy(zero_copy_only=False))) + 1
        raise PetError(f"{path}: row {row}: {_INCOMPLETE.format(unit='row')}")
    texts = column.cast(pa.string())
    codes = texts.dictionary_encode()
    if len(codes.dictionary) < len(texts):
        repeated = np.ones(len(texts), dtype=bool)
        repeated[np.unique(codes.indices.to_numpy(), return_index=True)[1]] = False
        row = int(repeated.argmax())
        raise PetError(f"{path}: row {row + 1}: {_TWICE.format(id=texts[row].as_py())}")
    ids: list[str] = texts.to_pylist()
    return ids


def _arrow_matrix(path: Path, column: Any, order: list[str]) -> Array:
    """Probabilities as an array of shape (rows, L), checked as a whole."""
    import pyarrow as pa
    import pyarrow.compute as pc

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
    """Numbers as float64, with NaN where there is none."""
    import pyarrow as pa

    kind = column.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
        raise PetError(problem)
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _refuse_rows(path: Path, wrong: Array, problem: str) -> None:
    if wrong.any():
        raise PetError(f"{path}: row {int(wrong.argmax()) + 1}: {problem}")


def _json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except (ValueError, RecursionError) as error:
                raise PetError(f"{path}: line {number}: this is no JSON ({error})") from error


def _read_jsonl(path: Path, labels: Sequence[str] | None) -> SoftLabelTable:
    rows = _json_lines(path)
    first = next(rows, None)
    if first is None:
        raise PetError(f"{path}: the file is empty")
    probabilities = first[1].get("probabilities") if isinstance(first[1], dict) else None
    order = list(labels) if labels else list(probabilities) if isinstance(probabilities, dict) else None
    if order is None:
        raise PetError(
            f"{path}: line {first[0]}: `probabilities` must map labels to numbers, or be a list and the labels given "
            "with --task"
        )

    def chained() -> Iterator[tuple[int, Any]]:
        yield first
        yield from rows

    return _collect(path, chained(), order)


def _collect(path: Path, rows: Iterator[tuple[int, Any]], order: list[str]) -> SoftLabelTable:
    ids: list[str] = []
    values: list[list[float]] = []
    seen: set[str] = set()
    for number, row in rows:
        where = f"{path}: line {number}"
        row_id = row.get("id") if isinstance(row, dict) else None
        if isinstance(row_id, bool) or not isinstance(row_id, (str, int)) or "probabilities" not in row:
            raise PetError(f"{where}: {_INCOMPLETE.format(unit='line')}")
        ids.append(str(row_id))
        if ids[-1] in seen:
            raise PetError(f"{where}: {_TWICE.format(id=ids[-1])}")
        seen.add(ids[-1])
        values.append(_distribution(where, row["probabilities"], order))
    matrix = np.asarray(values, dtype=np.float64)
    return SoftLabelTable(ids, matrix / matrix.sum(axis=1, keepdims=True), list(order))


def _distribution(where: str, given: Any, order: list[str]) -> list[float]:
    if isinstance(given, dict):
        if set(given) != set(order):
            raise PetError(f"{where}: {_other_labels(given, order)}")
        given = [given[label] for label in order]
    numbers = isinstance(given, list) and all(
        isinstance(p, (int, float)) and not isinstance(p, bool) and 0 <= p <= 1 for p in given
    )
    if not numbers or len(given) != len(order):
        raise PetError(f"{where}: {_NOT_NUMBERS.format(width=len(order))}")
    if abs(sum(given) - 1) > _ROUNDING:
        raise PetError(f"{where}: {_NOT_ONE.format(total=sum(given))}")
    return [float(p) for p in given]


def _other_labels(given: Iterable[str], order: Iterable[str]) -> str:
    odd = sorted(set(given) ^ set(order))
    return f"the labels differ from {', '.join(map(str, order))} ({', '.join(map(repr, odd[:5]))})"
