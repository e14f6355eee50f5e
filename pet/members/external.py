"""A column from outside as a member: somebody else's probabilities, log-probabilities, or votes, by text id."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Dataset
from numpy.typing import NDArray

from pet.data.checks import text_keys
from pet.data.columns import Layout
from pet.data.open_source import open_source
from pet.data.problems import Problems
from pet.data.row_reader import records
from pet.data.source import column_names
from pet.ensemble.scale import Scale
from pet.errors import PetError
from pet.members.seam import Array, MemberData, OnRows, OnStep, Report
from pet.members.spec import MemberSpec
from pet.members.texts import Texts
from pet.store.tables import PROBABILITY_COLUMN
from pet.suggest import suggest

KIND = "external"
KEPT = "scores.parquet"  # what a member keeps of its file
VOTE = 0.9  # probability that a plain vote stands for; the other labels share the rest
FLOOR = 1e-3  # smallest probability, so that one member alone cannot rule a label out
_ROUNDING = 1e-2  # how far from 1 probabilities may add up


def _ignore(*_: Any) -> None:
    pass


def parse(argument: str, folder: str) -> MemberSpec:
    """The member that ``external:FILE`` names; it is called after the file."""
    if not argument:
        raise PetError("member external: name the file with its scores, as in external:votes.csv")
    path = Path(argument).expanduser()
    path = path if path.is_absolute() or not folder else Path(folder, path)
    if not path.is_file():
        raise PetError(f"member external:{argument}: there is no file {path}")
    name = path.name.split(".")[0] or KIND
    return MemberSpec(KIND, name, {"file": os.path.abspath(path)})


@dataclass
class ExternalMember:
    """Scores that were made elsewhere. A text that the file does not have gets no score: the member abstains.

    Attributes
    ----------
    spec : ``options["file"]`` is the file
    labels, fields : of the task
    folder : where the scores were kept; None before `fit`
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

    def fit(self, data: MemberData, folder: Path, on_step: OnStep = _ignore) -> Report:
        """Check the whole file and keep its scores in the folder, so that the file itself is needed no more."""
        ids, scores = read_external(self.spec.options["file"], self.labels, self.name)
        texts: dict[str, int] = {}
        for table in data.known:
            texts |= dict(zip(table.ids, self._keys(table.table).tolist(), strict=True))
        columns = {"id": pa.array(ids, pa.string()), "text": pa.array(map(texts.get, ids), pa.uint64())}
        columns |= {f"score_{i}": pa.array(scores[:, i], pa.float32()) for i in range(len(self.labels))}
        pq.write_table(pa.table(columns), folder / KEPT)
        self.folder = folder
        return Report(0, notes={"rows": len(ids), "labels": list(self.labels)})

    def load(self) -> None:
        """See `pet.members.seam.Scorer.load`."""
        if self._kept is None and self.folder is not None:
            self._kept = pq.read_table(self.folder / KEPT)

    def scores(self, texts: Texts, out: Array, on_rows: OnRows = _ignore) -> None:
        """See `pet.members.seam.Scorer.scores`."""
        self.load()
        known = self._kept
        if known is None:
            raise ValueError(f"member {self.name} must be fitted before it scores")
        ids = texts.ids
        rows = pc.index_in(pa.array(ids, pa.string()), value_set=known["id"])
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
        """Refuse an id that was another text when the scores were matched with the run's texts."""
        if not len(found):
            return
        keys = self._keys(texts.table.select(found))
        differs = known.is_valid().to_numpy() & (known.fill_null(0).to_numpy() != keys)
        if differs.any():
            raise PetError(
                f"member {self.name}: the id {ids[found[differs.argmax()]]!r} was another text in the run, and its "
                f"scores are matched by id ({int(differs.sum())} such ids); give new texts ids of their own"
            )


def read_external(path: str | Path, labels: Sequence[str], name: str) -> tuple[list[str], Array]:
    """Ids and log-probabilities from a Parquet, JSONL, CSV, or TSV file.

    Every row has an ``id`` and one of: ``probabilities`` (a mapping of label to number, or a list in the order of
    `labels`), a column for each label (its name, or its name in ``p(...)``), or ``label``, a plain vote.
    Numbers are probabilities, or log-probabilities if none is above 0. A row whose values are all missing abstains.

    Parameters
    ----------
    path : the file
    labels : of the task, in order
    name : what messages call the member

    Returns
    -------
    ids, and a float32 array of shape (ids, L); rows that abstain are left out

    Raises
    ------
    PetError
        Naming every line that is wrong.
    """
    source = open_source(path, name)
    header = column_names(source) or []
    columns = _label_columns(header, labels)
    read = _reader(header, columns, labels)
    if "id" not in header or read is None:
        raise PetError(
            f"{name}: {source.shown}: needs a column `id` and either `probabilities`, a column for each label "
            f"({', '.join(labels[:4])}{', ...' if len(labels) > 4 else ''}), or `label`; it has {', '.join(header)}"
        )
    problems = Problems(source, name)
    layout = Layout({column: column for column in header}, None, None)
    places: dict[str, Any] = {}
    rows: list[Array] = []
    for place, record in records(source, layout, problems, numbers=True):
        row_id = record.get("id")
        if row_id is None or row_id == "":
            problems.add(place, "id", "has no id")
            continue
        key = str(row_id)
        if key in places:
            problems.add(place, "double id", f"the id {key!r} occurs twice; ids must be unique", key)
            continue
        try:
            row = read(record)
        except ValueError as error:
            problems.add(place, "scores", str(error), str(error))
            continue
        if row is not None:
            places[key] = place
            rows.append(row)
    problems.raise_if_any()
    if not rows:
        raise PetError(f"{name}: {source.shown}: has no row with scores")
    return list(places), np.stack(rows)


def _label_columns(header: Sequence[str], labels: Sequence[str]) -> list[str] | None:
    for pattern in ("{}", PROBABILITY_COLUMN):
        columns = [pattern.format(label) for label in labels]
        if all(column in header for column in columns):
            return columns
    return None


def _reader(header: Sequence[str], columns: list[str] | None, labels: Sequence[str]) -> Any:
    """What reads a row: record -> log-probabilities, or None if it abstains. ValueError says what is wrong."""
    if "probabilities" in header:
        return lambda record: _from_field(record.get("probabilities"), labels)
    if columns is not None:
        return lambda record: log_probabilities([record.get(column) for column in columns])
    if "label" in header:
        return lambda record: _vote(record.get("label"), labels)
    return None


def _from_field(value: Any, labels: Sequence[str]) -> Array | None:
    if value is None:
        return None
    if isinstance(value, Mapping):
        others = [key for key in value if key not in labels]
        if others:
            raise ValueError(f"`probabilities` names the label {others[0]!r}, which the task does not have")
        value = [value.get(label) for label in labels]
    if not isinstance(value, (list, tuple)) or len(value) != len(labels):
        raise ValueError(f"`probabilities` must hold {len(labels)} numbers, one for each label")
    return log_probabilities(value)


def _vote(value: Any, labels: Sequence[str]) -> Array | None:
    if value is None or value == "":
        return None
    label = str(value)
    if label not in labels:
        raise ValueError(f"the label {label!r} is not in the task; {suggest(label, labels)}")
    rest = (1 - VOTE) / (len(labels) - 1)
    return np.log([VOTE if other == label else rest for other in labels]).astype(np.float32)


def log_probabilities(values: Sequence[Any]) -> Array | None:
    """The logarithms of probabilities, or of log-probabilities that are normalized; None if all are missing.

    Probabilities below `FLOOR` are raised to it.

    Raises
    ------
    ValueError
        If they are neither.

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
        raise ValueError("some labels have a number and others have none; give all of them, or none")
    if numbers.min() >= 0 and abs(numbers.sum() - 1) <= _ROUNDING:
        chances = numbers / numbers.sum()
    elif numbers.max() <= 0 and numbers.any() and math.isfinite(numbers.max()):
        chances = np.exp(numbers - numbers.max())
        chances /= chances.sum()
    else:
        raise ValueError(
            f"the numbers {', '.join(f'{number:g}' for number in numbers[:6])} are neither probabilities, which add "
            "up to 1, nor log-probabilities, none of which is above 0"
        )
    chances = np.maximum(chances, FLOOR)
    return np.log(chances / chances.sum()).astype(np.float32)
