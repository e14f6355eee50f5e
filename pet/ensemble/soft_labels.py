"""Soft labels as a table: what the ensemble says of each text of the pool.

Parquet and JSONL hold the same rows. Anyone's JSONL with probabilities can be read, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonlines
import numpy as np
from numpy.typing import NDArray

from pet.ensemble.merge import merge_scores, softmax
from pet.errors import PetError

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[Any]
MERGE_ROWS = 65536
_ROUNDING = 1e-3  # how far from 1 probabilities may add up
_INCOMPLETE = "each {unit} needs an `id` (text or a whole number) and `probabilities`"
_TWICE = "the id {id!r} stands in the file twice; ids must be unique"
_NOT_NUMBERS = "`probabilities` must be {width} numbers from 0 to 1, one for each label"
_NOT_ONE = "the probabilities add up to {total:.4f}, and must add up to 1"


@dataclass(frozen=True)
class SoftLabels:
    """Merged predictions for some rows.

    Attributes
    ----------
    probabilities : float64 array of shape (rows, L), in the order of the task's labels
    votes : int array of shape (rows, members): the label that each member would choose
    """

    probabilities: Array
    votes: Array

    @property
    def label(self) -> Array:
        """Most probable label of each row: int64 array of shape (rows,)."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def confidence(self) -> Array:
        """Probability of that label."""
        return np.asarray(self.probabilities.max(axis=1))

    @property
    def entropy(self) -> Array:
        """Entropy of the probabilities, in nats."""
        p = self.probabilities
        return np.asarray(-(p * np.log(np.maximum(p, 1e-300))).sum(axis=1))

    @property
    def agreement(self) -> Array:
        """Share of the members whose own choice is that label."""
        return np.asarray((self.votes == self.label[:, None]).mean(axis=1))


def make_soft_labels(scores: Sequence[Array], weights: Array, bias: Array | float = 0.0) -> SoftLabels:
    """Merge the members' raw scores, each of shape (rows, L), into soft labels (temperature 1).

    `bias`, of shape (L,), is added to the merged scores; see `pet.ensemble.merge.prior_correction`.
    """
    votes = np.stack([np.asarray(s).argmax(axis=1) for s in scores], axis=1)
    return SoftLabels(softmax(merge_scores(scores, weights) + bias), votes)


def soft_label_schema(labels: Sequence[str]) -> pa.Schema:
    """Columns of the Parquet file; the labels' order stands in its metadata."""
    import pyarrow as pa

    columns = [
        ("id", pa.string()),
        ("probabilities", pa.list_(pa.float64())),
        ("label", pa.string()),
        ("confidence", pa.float64()),
        ("entropy", pa.float64()),
        ("agreement", pa.float64()),
        ("votes", pa.list_(pa.string())),
    ]
    return pa.schema(columns, metadata={"labels": json.dumps(list(labels), ensure_ascii=False)})


def to_arrow(ids: Sequence[str], soft: SoftLabels, labels: Sequence[str], members: Sequence[str]) -> pa.Table:
    """Soft labels as an Arrow table with the columns of `soft_label_schema`."""
    import pyarrow as pa

    names = np.asarray(labels, dtype=object)
    width, voters = soft.probabilities.shape[1], soft.votes.shape[1]
    rows = len(ids)
    schema = soft_label_schema(labels)
    schema = schema.with_metadata({**(schema.metadata or {}), b"members": json.dumps(list(members)).encode()})
    arrays = [
        pa.array(ids, pa.string()),
        pa.ListArray.from_arrays(
            pa.array(np.arange(rows + 1) * width, pa.int32()), pa.array(soft.probabilities.reshape(-1))
        ),
        pa.array(names[soft.label], pa.string()),
        pa.array(soft.confidence),
        pa.array(soft.entropy),
        pa.array(soft.agreement),
        pa.ListArray.from_arrays(
            pa.array(np.arange(rows + 1) * voters, pa.int32()), pa.array(names[soft.votes.reshape(-1)], pa.string())
        ),
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


class SoftLabelWriter:
    """Writes soft labels chunk by chunk, as Parquet or as JSONL, by the ending of the name.

    Nothing is at `path` before `close`: the file is written beside it and then renamed.
    """

    def __init__(self, path: Path, labels: Sequence[str], members: Sequence[str]):
        self.path = Path(path)
        self.labels = list(labels)
        self.members = list(members)
        if self.path.suffix not in (".parquet", ".jsonl"):
            raise PetError(f"{path}: soft labels are written as .parquet or .jsonl; give the file one of these endings")
        self._beside = self.path.with_name(f".tmp-{self.path.name}")
        self._parquet: Any = None
        self._text: Any = None
        if self.path.suffix == ".jsonl":
            self._text = self._beside.open("w", encoding="utf-8", newline="\n")
            self._lines = jsonlines.Writer(self._text)

    def __enter__(self) -> SoftLabelWriter:
        return self

    def write(self, ids: Sequence[str], soft: SoftLabels) -> None:
        """Append rows."""
        table = to_arrow(ids, soft, self.labels, self.members)
        if self._text is not None:
            for row in table.to_pylist():
                row["probabilities"] = dict(zip(self.labels, row["probabilities"], strict=True))
                row["votes"] = dict(zip(self.members, row["votes"], strict=True))
                self._lines.write(row)
            return
        if self._parquet is None:
            import pyarrow.parquet as pq

            self._parquet = pq.ParquetWriter(self._beside, table.schema)
        self._parquet.write_table(table)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._text is None and self._parquet is None:
            self.write([], SoftLabels(np.zeros((0, len(self.labels))), np.zeros((0, len(self.members)), dtype=int)))
        for file in (self._text, self._parquet):
            if file is not None:
                file.close()
        if kind is None:
            self._beside.replace(self.path)
        else:
            self._beside.unlink(missing_ok=True)


def write_soft_labels(
    paths: Sequence[Path],
    ids: Any,
    scores: Mapping[str, Array],
    weights: Array,
    labels: Sequence[str],
    bias: Array | float = 0.0,
) -> None:
    """Merge score arrays, which may be memory maps, and write the result in constant memory.

    Parameters
    ----------
    paths : files to write, .parquet or .jsonl
    ids : sequence of str that can be sliced
    scores : member -> array of shape (rows, L)
    weights : shape (members,)
    labels : the task's labels
    bias : shape (L,), added to the merged scores
    """
    from contextlib import ExitStack

    members = list(scores)
    with ExitStack() as stack:
        writers = [stack.enter_context(SoftLabelWriter(path, labels, members)) for path in paths]
        for start in range(0, len(ids), MERGE_ROWS):
            stop = min(start + MERGE_ROWS, len(ids))
            soft = make_soft_labels([scores[m][start:stop] for m in members], weights, bias)
            chunk = list(ids[start:stop])
            for writer in writers:
                writer.write(chunk, soft)


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
