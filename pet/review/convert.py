"""Write soft labels, with their texts, in the format of another tool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pet.data.label_sets import LabelSets
from pet.data.open_source import open_source
from pet.data.read import iter_table
from pet.data.rows import whole_rows
from pet.data.source_names import file_of, text_columns
from pet.data.table_options import TableOptions
from pet.ensemble.soft_label_files import SoftLabelTable, read_soft_labels
from pet.errors import PetError
from pet.inference.ensemble import used_generation
from pet.progress import Reporter
from pet.resources import expand
from pet.review.formats import FORMATS, LabeledText
from pet.run.finished_texts import check_pool
from pet.run.kept_texts import with_kept_texts
from pet.run.load_run import is_run, no_run, read_settings
from pet.store.files import writing
from pet.store.manifest import read_stages
from pet.store.outputs import check_output
from pet.task.parse import SEPARATOR
from pet.task.task import Task


@dataclass(frozen=True)
class Converted:
    """How many texts were written, and how many texts of the input have no soft labels."""

    texts: int
    left_out: int


@dataclass(frozen=True)
class _Given:
    labels: Path
    source: str
    fields: tuple[str, ...]
    table: TableOptions
    label_map: Mapping[str, str]


def convert_labels(
    labels: str | Path,
    output: str | Path,
    kind: str,
    *,
    source: str | None = None,
    task: Task | None = None,
    table: TableOptions | None = None,
) -> Converted:
    """Write soft labels in the format of another tool.

    Parameters
    ----------
    labels : a file of soft labels (of `pet label`, `pet predict`, or any that `pet distill` reads), or a finished run
    output : a file with the ending of the format
    kind : one of `pet.review.formats.FORMATS`
    source : the texts, with the ids of the soft labels; default: the unlabeled texts of the run
    task : for its fields and columns; default: that of the run, or a single field ``text``
    table : how to read the texts

    Raises
    ------
    PetError
        For every mistake in the input or the options. Nothing is written then.

    Examples
    --------
    >>> convert_labels("runs/reviews", "pool.json", "label-studio").texts
    32
    """
    form, table = FORMATS[kind], table or TableOptions()
    given = _given(labels, source, task, table)
    place = check_output(output, (form.ending,), file_of(given.source), table.force)
    soft = read_soft_labels(given.labels, task.labels if task else None)
    if form.needs_labels and soft.independent:
        raise PetError(f"--format {kind}: a text may have several labels here, which this format cannot hold")
    applies = _applying(given.labels, soft) if soft.independent else None
    counts = np.zeros(2, dtype=np.int64)
    texts = _texts(given, soft, applies, counts, needs_labels=form.needs_labels)
    first = next(texts, None)
    if first is None:
        raise PetError(f"{given.labels}: none of its ids is in {given.source}; give the texts that were labeled")
    with writing(place) as beside:
        form.write(beside, soft.labels, _chain(first, texts), soft.independent)
    return Converted(int(counts[0]), int(counts[1]))


def _given(labels: str | Path, source: str | None, task: Task | None, table: TableOptions) -> _Given:
    """Return the file of soft labels and how to read its texts, for a file or for a run."""
    place = expand(labels)
    columns = dict(table.columns)
    if is_run(place):
        own = read_settings(place)
        settings, known = with_kept_texts(own, place), Task.from_dict(own.task)
        if source is None:
            check_pool(place, own, known, Reporter("quiet"))
        task = task or known
        columns = {**settings.columns, **columns}
        source = source or settings.unlabeled
        place = place / f"g{used_generation(place, read_stages(place), settings.method)}" / "labels.parquet"
        if not place.is_file():
            raise PetError(f"{labels}: has no soft labels; label texts with `pet label` and name that file")
    elif not place.exists():
        raise PetError(f"{labels}: no such file; name soft labels, or the folder of a run")
    elif place.is_dir() and not any(place.glob("*.parquet")):  # soft labels may be a folder of Parquet files
        raise PetError(no_run(place))
    if source is None:
        raise PetError(f"{labels}: holds no texts; name their file with --input")
    fields = ("text",) if task is None else task.fields
    columns = {**(task.columns if task else {}), **columns}
    return _Given(place, source, fields, replace(table, columns=columns), task.label_map if task else {})


def _texts(
    given: _Given, soft: SoftLabelTable, applies: Mapping[str, Sequence[str]] | None, counts: Any, *, needs_labels: bool
) -> Iterator[LabeledText]:
    """Yield the texts that have soft labels, in the order of the input, and count them and the others."""
    rows = {row_id: row for row, row_id in enumerate(soft.ids)}
    how: dict[str, Any] = {"columns": text_columns(given.source, given.table.columns), **given.table.reading}
    if needs_labels:
        how |= {"labels": soft.labels, "label_map": given.label_map, "columns": given.table.columns}
    for chunk in iter_table(given.source, given.fields, **how):
        for text in chunk:
            row = rows.get(text["id"])
            counts[int(row is None)] += 1
            if row is None:
                continue
            shares = soft.probabilities[row]
            proposed = [soft.labels[int(shares.argmax())]] if applies is None else applies[text["id"]]
            values = {name: text[name] for name in given.fields}
            yield LabeledText(text["id"], values, shares, proposed, text.get("label"))


def _applying(path: Path, soft: SoftLabelTable) -> dict[str, list[str]]:
    """Return id -> the labels that apply, according to the column ``labels``."""
    sets = LabelSets(soft.labels, {}, SEPARATOR)
    found = {}
    for row in whole_rows(open_source(path, "labels"), "labels", columns=["id", "labels"]):
        chosen = sets.indicator(row["labels"])
        found[str(row["id"])] = [label for label, there in zip(soft.labels, chosen, strict=True) if there]
    return found


def _chain(first: LabeledText, others: Iterator[LabeledText]) -> Iterator[LabeledText]:
    yield first
    yield from others
