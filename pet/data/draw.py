"""Draw a few-shot file from a larger labeled one, with all its columns, and a pool of the remaining rows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pet.data.checks import column_labels, count_labels
from pet.data.columns import present_columns, same_columns
from pet.data.kept import choose_columns, refuse_many_texts
from pet.data.label_sets import labels_of
from pet.data.open_source import open_source
from pet.data.read import read_table
from pet.data.rows import Row, chunks_of_rows, column_values, output_columns, whole_rows
from pet.data.sample import sample_shots
from pet.data.source import Source, column_names
from pet.data.source_names import file_of
from pet.data.table_options import TableOptions
from pet.errors import PetError
from pet.seeds import derive_seed
from pet.store.outputs import check_output
from pet.store.tables import TABLE_ENDINGS, OutputColumn, TableWriter, needs_types, writing_table
from pet.task.task import Task


@dataclass(frozen=True)
class DrawOptions:
    """Which rows to draw; see `pet.data.sample.sample_shots`.

    Parameters
    ----------
    shots : int, optional
        Rows of each label. Give this or `examples`.
    examples : int, optional
        Rows in total.
    balanced : bool
        For `examples`: draw as evenly over the labels as possible.
    seed : int
        Random seed.
    """

    shots: int | None = None
    examples: int | None = None
    balanced: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Drawn:
    """How many rows were written.

    Attributes
    ----------
    per_label : mapping of str to int
        Rows drawn of each label.
    rest : int or None
        Rows that were not drawn; None if they were not written.
    """

    per_label: Mapping[str, int]
    rest: int | None


def draw_file(
    task: Task,
    source: str,
    output: str | Path,
    draw: DrawOptions,
    *,
    rest: str | Path | None = None,
    keep_labels: bool = False,
    table: TableOptions | None = None,
) -> Drawn:
    """Draw rows of a labeled file and write them, unchanged, to another file.

    The rows are those that a run with the same seed draws from the whole file, in the order of the draw. The file of
    a larger draw therefore begins with the rows of a smaller one.

    Parameters
    ----------
    task : Task
        Names the fields and labels.
    source : str
        Labeled texts, as for `pet.data.read.read_table`.
    output : str or Path
        A .jsonl, .csv, .tsv or .parquet file.
    draw : DrawOptions
        How many rows to draw, and how.
    rest : str or Path, optional
        Where to write all other rows.
    keep_labels : bool
        Keep the label column in `rest`.
    table : TableOptions, optional
        How to read and write. If `keep` names columns, only those and the columns that the task reads are written;
        otherwise all.

    Raises
    ------
    PetError
        For every mistake in the input or the options. Nothing is written then.
    """
    table = replace(table or TableOptions(), columns={**task.columns, **(table.columns if table else {})})
    given = file_of(source)
    targets = [check_output(place, TABLE_ENDINGS, given, table.force) for place in (output, rest) if place is not None]
    if len(targets) == 2 and os.path.realpath(targets[0]) == os.path.realpath(targets[1]):
        raise PetError(f"{output}: is given both for the draw and for the rest; name two files")
    gold, drawn = _draw(task, source, draw, table)
    opened = open_source(source, "input", table.table_format, table.columns)
    rows, names = _pick(opened, drawn.tolist())
    table = replace(table, columns=present_columns(table.columns, names))
    names = _chosen(names, task, table, opened.shown)
    columns = output_columns(opened, names, "input", typed=any(map(needs_types, targets)))
    left = None
    with ExitStack() as files:  # both files appear, or neither
        _append(files.enter_context(writing_table(targets[0], columns, as_is=table.as_is)), rows, columns)
        if rest is not None:
            hidden = set() if keep_labels else _label_columns(task, table)
            columns = [column for column in columns if not same_columns(column.name, hidden)]
            numbers = frozenset(drawn.tolist())
            others = (row for number, row in enumerate(whole_rows(opened, "input")) if number not in numbers)
            left = _append(files.enter_context(writing_table(targets[1], columns, as_is=table.as_is)), others, columns)
    return Drawn(dict(zip(task.labels, count_labels(gold[drawn], len(task.labels)).tolist(), strict=True)), left)


def _draw(
    task: Task, source: str, draw: DrawOptions, options: TableOptions
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the label of every row, and the rows that are drawn."""
    refuse_many_texts("pet sample", options.columns)
    if (draw.shots if draw.shots is not None else draw.examples) == 0:
        raise PetError(f"--{'shots' if draw.shots is not None else 'examples'} 0 draws nothing; give 1 or more")
    if draw.seed < 0:
        raise PetError(f"--seed {draw.seed}: must not be negative; give 0 or more")
    table = read_table(
        source,
        task.fields,
        labels=labels_of(task),
        label_map=task.label_map,
        columns=options.columns,
        table_format=options.table_format,
    )
    gold = column_labels(table)
    drawn = sample_shots(
        gold,
        len(task.labels),
        shots=draw.shots,
        examples=draw.examples,
        seed=derive_seed(draw.seed, "sample"),
        balanced=draw.balanced,
        names=task.labels,
    )
    return gold, drawn


def _pick(source: Source, wanted: Sequence[int]) -> tuple[list[Row], list[str]]:
    """Return the wanted rows, in this order, and the columns of the whole table."""
    numbers = frozenset(wanted)
    columns = dict.fromkeys(column_names(source) or ())
    found: dict[int, Row] = {}
    for number, row in enumerate(whole_rows(source, "input")):
        if number in numbers:
            found[number] = row
        if source.kind == "json":  # later lines may have columns that the first has not
            columns.update(dict.fromkeys(row))
    return [found[number] for number in wanted], list(columns)


def _chosen(names: Sequence[str], task: Task, table: TableOptions, place: str) -> list[str]:
    """Return the columns to write: all, or those that the task reads and those to keep."""
    if not table.keep:
        return list(names)
    needed = {table.columns.get(name, name) for name in ("id", *task.fields, "label")}
    kept = {*needed, *choose_columns(table.keep, names, place)}
    return [name for name in names if same_columns(name, kept)]


def _label_columns(task: Task, table: TableOptions) -> set[str]:
    """Return the column of the labels, unless it is also that of a field."""
    return {table.columns.get("label", "label")} - {table.columns.get(field, field) for field in task.fields}


def _append(file: TableWriter, rows: Iterable[Row], columns: Sequence[OutputColumn]) -> int:
    """Write rows, and return how many there were."""
    names = [column.name for column in columns]
    count = 0
    for chunk in chunks_of_rows(rows):
        file.write(column_values(chunk, names))
        count += len(chunk)
    return count
