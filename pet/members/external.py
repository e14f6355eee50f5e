"""The member kind `external`: probabilities, log-probabilities, or votes from a file, matched to texts by id."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset
from numpy.typing import NDArray

from pet.data.checks import text_keys
from pet.data.columns import Layout, same_columns, some
from pet.data.ids import match_ids
from pet.data.open_source import open_source
from pet.data.pick import pick_rows
from pet.data.problems import Problems
from pet.data.row_reader import records
from pet.data.source import column_names, first_line
from pet.data.values import as_text, is_missing, kind_of, label_text
from pet.ensemble.scale import Scale
from pet.ensemble.soft_label_rows import LOGITS, Contradiction, contradiction, is_empty
from pet.errors import PetError
from pet.members.seam import Array, MemberData, OnRows, OnStep, Report, ignore
from pet.members.spec import MemberSpec, file_spec
from pet.members.texts import Texts
from pet.spelling import Names
from pet.store.tables import PROBABILITY_COLUMN
from pet.suggest import suggest

KIND = "external"
KEPT = "scores.parquet"  # the member's copy of the scores
VOTE = 0.9  # probability of the label that a vote names; the other labels share the rest
FLOOR = 1e-3  # smallest probability, so that one member alone cannot rule out a label
_ROUNDING = 1e-2  # maximum distance of the sum of probabilities from 1


def parse(argument: str) -> MemberSpec:
    """Parse ``external:FILE``. The member is named after the file."""
    return file_spec(KIND, argument, "votes.csv")


@dataclass
class ExternalMember:
    """Scores from a file. The member abstains on texts that are not in the file.

    Attributes
    ----------
    spec : the specification; ``options["file"]`` is the file
    labels, fields : labels and fields of the task
    folder : folder with the member's copy of the scores; None before `fit`
    """

    spec: MemberSpec
    labels: tuple[str, ...]
    fields: tuple[str, ...]
    folder: Path | None = None
    scale: Scale = Scale.LOG_PROBABILITIES
    _kept: pa.Table | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.spec.name

    def fit(self, data: MemberData, folder: Path, on_step: OnStep = ignore) -> Report:
        """Check the whole file and copy its scores to the folder. The file is not needed afterwards."""
        ids, scores = read_external(self.spec.options["file"], self.labels, self.name)
        texts: dict[str, int] = {}
        for table in data.known:
            texts |= dict(zip(table.ids, self._keys(table.table).tolist(), strict=True))
        column = pa.array(ids, pa.string())
        rows = match_ids(column, pa.array(list(texts), pa.string()))
        columns = {"id": column, "text": pa.array(list(texts.values()), pa.uint64()).take(rows)}
        columns |= {f"score_{i}": pa.array(scores[:, i], pa.float32()) for i in range(len(self.labels))}
        pq.write_table(pa.table(columns), folder / KEPT)
        self.folder = folder
        return Report(0, notes={"rows": len(ids), "labels": list(self.labels)})

    def load(self) -> None:
        """See `pet.members.seam.Scorer.load`."""
        if self._kept is None and self.folder is not None:
            self._kept = _read_kept(self.folder / KEPT, len(self.labels))

    def scores(self, texts: Texts, out: Array, on_rows: OnRows = ignore) -> None:
        """See `pet.members.seam.Scorer.scores`."""
        self.load()
        known = self._kept
        if known is None:
            raise ValueError(f"member {self.name} must be fitted before it scores")
        ids = texts.ids
        rows = match_ids(pa.array(ids, pa.string()), known["id"].combine_chunks())
        found = np.flatnonzero(rows.is_valid().to_numpy(zero_copy_only=False))
        taken = known.take(rows.drop_null())
        self._check_texts(texts, ids, found, taken["text"])
        out[:] = np.nan
        for column in range(len(self.labels)):
            out[found, column] = taken[f"score_{column}"].to_numpy()
        on_rows(len(texts))

    def _keys(self, table: Dataset) -> NDArray[np.uint64]:
        return text_keys(table, self.fields)

    def _check_texts(self, texts: Texts, ids: Sequence[str], found: Array, known: pa.ChunkedArray) -> None:
        """Check that each id stands for the same text as in the run."""
        if not len(found):
            return
        keys = self._keys(pick_rows(texts.table, found))
        differs = known.is_valid().to_numpy() & (known.fill_null(0).to_numpy() != keys)
        if differs.any():
            raise PetError(
                f"member {self.name}: id {ids[found[differs.argmax()]]!r} stood for another text in the run, and its "
                f"scores are matched by id ({int(differs.sum())} such ids); give new texts new ids"
            )


def _read_kept(path: Path, labels: int) -> pa.Table:
    """Read a member's copy of the scores; refuse a damaged file, which may come from another person."""
    scores = [(f"score_{column}", pa.float32()) for column in range(labels)]
    schema = pa.schema([("id", pa.string()), ("text", pa.uint64()), *scores])
    try:
        found = pq.read_table(path, columns=schema.names)
        return pa.table({name: found[name] for name in schema.names}).cast(schema)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise PetError(f"{path}: cannot be read ({first_line(error)}); train this member again") from error


def read_external(path: str | Path, labels: Sequence[str], name: str) -> tuple[list[str], Array]:
    """Read ids and log-probabilities from a Parquet, JSONL, CSV, or TSV file.

    Every row has an ``id`` and one of: ``probabilities`` (a mapping of label to number, or a list in the order of
    `labels`), a column per label (named after the label, or ``p(label)``), or ``label`` (a vote). Numbers are
    probabilities, or log-probabilities if none is above 0. A row abstains if all its values are missing. If a row has a
    label as well as numbers, the label must be the most probable one.

    Parameters
    ----------
    path : the file
    labels : labels of the task, in order
    name : name of the member in messages

    Returns
    -------
    ids : list of str, without the rows that abstain
    scores : float32 array of shape (ids, L)

    Raises
    ------
    PetError
        Naming every wrong line.
    """
    source = open_source(path, name)
    header = column_names(source) or []
    columns = _label_columns(header, labels)
    read = _reader(header, columns, labels, source.kind == "json")
    if "id" not in header or read is None:
        raise PetError(
            f"{name}: {source.shown}: requires a column `id` and either `probabilities`, a column per label "
            f"({some(labels, 4)}), or `label`; it has {some(header)}"
        )
    problems = Problems(source, name)
    layout = Layout({column: column for column in header}, None, None)
    places: dict[str, Any] = {}
    rows: list[Array] = []
    for place, record in records(source, layout, problems, numbers=True):
        key = as_text(record.get("id"))
        if not key:
            problems.add(place, "id", "has no id")
            continue
        if key in places:
            problems.add(place, "double id", f"the id {key!r} occurs twice; ids must be unique", key)
            continue
        try:
            row = read(record)
        except Contradiction as error:
            problems.add(place, "contradiction", str(error))
            continue
        except ValueError as error:
            problems.add(place, "scores", str(error), str(error))
            continue
        if row is not None:
            places[key] = place
            rows.append(row)
    problems.raise_if_any()
    if not rows:
        raise PetError(f"{name}: {source.shown}: no row has scores")
    return list(places), np.stack(rows)


def _label_columns(header: Sequence[str], labels: Sequence[str]) -> list[str] | None:
    # A label may be called "id", too.
    for pattern in (PROBABILITY_COLUMN, *(["{}"] if "id" not in labels else [])):
        found = [same_columns(pattern.format(label), header) for label in labels]
        if all(found):
            return [same[0] for same in found]
    return None


def _reader(header: Sequence[str], columns: list[str] | None, labels: Sequence[str], lines: bool) -> Any:
    """Return a function that reads a row: record -> log-probabilities, or None if it abstains.

    A row with scores and a label must agree; a row with a label alone is a vote. The function raises a ValueError if
    the row is wrong. Return None if the columns hold no scores. With `lines`, later rows may have other columns.
    """
    names = Names(labels)
    if not lines and columns is None and not {"probabilities", "label"} & {*header}:
        return None
    has_label = "label" not in (columns or ())

    def read(record: Mapping[str, Any]) -> Array | None:
        found = _from_field(record.get("probabilities"), labels, names)
        if found is None and columns is not None:
            found = log_probabilities([record.get(column) for column in columns])
        if found is None and record.get("logits") is not None:
            raise ValueError(LOGITS)
        vote = _vote(record.get("label"), labels, names) if has_label else None
        if found is None or vote is None:
            return vote if found is None else found
        place, likely = int(vote.argmax()), int(found.argmax())
        if np.exp(found[place]) < np.exp(found[likely]) - _ROUNDING:
            raise Contradiction(
                contradiction(str(record["id"]), labels[place], labels[likely], float(np.exp(found[likely])))
            )
        return found

    return read


def _from_field(value: Any, labels: Sequence[str], names: Names) -> Array | None:
    if is_empty(value):
        return None
    if isinstance(value, Mapping):
        named: dict[str, Any] = {}
        for key, number in value.items():
            label = names.find(key)
            if label is None:
                raise ValueError(f"`probabilities` has the label {key!r}, which is not in the task")
            if label in named:
                raise ValueError(f"`probabilities` has the label {label!r} twice")
            named[label] = number
        value = [named.get(label) for label in labels]
    if not isinstance(value, (list, tuple)) or len(value) != len(labels):
        raise ValueError(f"`probabilities` must have {len(labels)} numbers, one per label")
    return log_probabilities(value)


def _vote(value: Any, labels: Sequence[str], names: Names) -> Array | None:
    if value == "" or is_missing(value):
        return None
    text = label_text(value) or kind_of(value)
    label = names.find(text)
    if label is None:
        raise ValueError(f"label {text!r} is not in the task; {suggest(text, labels)}")
    rest = (1 - VOTE) / (len(labels) - 1)
    return np.log([VOTE if other == label else rest for other in labels]).astype(np.float32)


def log_probabilities(values: Sequence[Any]) -> Array | None:
    """Return normalized log-probabilities from probabilities or log-probabilities; None if all values are missing.

    Probabilities below `FLOOR` are raised to it.

    Raises
    ------
    ValueError
        If the values are neither probabilities nor log-probabilities, or only some are missing.

    Examples
    --------
    >>> np.exp(log_probabilities([-2.0, -2.0])).tolist()
    [0.5, 0.5]
    """
    if all(value is None or value == "" for value in values):
        return None
    try:
        numbers = np.asarray([math.nan if value in (None, "") else float(value) for value in values])
    except (TypeError, ValueError):
        raise ValueError(f"{values!r:.60} are not numbers") from None
    if np.isnan(numbers).all():
        return None
    if np.isnan(numbers).any():
        raise ValueError("some labels have a number and others do not; give a number for every label, or for none")
    if numbers.min() >= 0 and abs(numbers.sum() - 1) <= _ROUNDING:
        chances = numbers / numbers.sum()
    elif numbers.max() <= 0 and numbers.any() and math.isfinite(numbers.max()):
        chances = np.exp(numbers - numbers.max())
        chances /= chances.sum()
    else:
        raise ValueError(
            f"the numbers {', '.join(f'{number:g}' for number in numbers[:6])} are neither probabilities (with a sum "
            "of 1) nor log-probabilities (none above 0)"
        )
    chances = np.maximum(chances, FLOOR)
    return np.log(chances / chances.sum()).astype(np.float32)
