"""A few-shot file drawn from a larger one, with all its columns, and a pool of what is left."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pet.data.checks import column_labels
from pet.data.open_source import open_source
from pet.data.read import read_table
from pet.data.rows import ENDINGS, Row, arrow_schema, whole_rows, write_rows
from pet.data.sample import sample_shots
from pet.data.source import Source, column_names
from pet.errors import PetError
from pet.seeds import derive_seed
from pet.store.files import writing
from pet.store.outputs import check_output
from pet.task.task import Task


@dataclass(frozen=True)
class Drawn:
    """How many rows were written: for each label, and without labels."""

    per_label: Mapping[str, int]
    rest: int | None


def draw_file(
    task: Task,
    source: str,
    output: str | Path,
    *,
    rest: str | Path | None = None,
    keep_labels: bool = False,
    shots: int | None = None,
    examples: int | None = None,
    balanced: bool = True,
    seed: int = 0,
    columns: Mapping[str, str] | None = None,
) -> Drawn:
    """Draw rows of a labeled file and write them, as the file has them, to another.

    The rows are those that a run with the same seed draws from the whole file, in the order of the
    draw: the file of a larger draw begins with that of a smaller one.

    Parameters
    ----------
    task : names the fields and labels
    source : labeled texts, as `pet.data.read.read_table` takes them
    output : a .jsonl, .csv, .tsv or .parquet file
    rest : where to write all other rows
    keep_labels : whether the label column stays in them
    shots, examples, balanced, seed : see `pet.data.sample.sample_shots`
    columns : field (or ``label``, ``id``) -> column of the file

    Raises
    ------
    PetError
        For every mistake of the user's; then nothing is written.
    """
    columns = columns or {}
    targets = [check_output(place, ENDINGS, source) for place in (output, rest) if place is not None]
    if len(targets) == 2 and os.path.realpath(targets[0]) == os.path.realpath(targets[1]):
        raise PetError(f"{output}: is named twice, for the draw and for the rest; name two files")
    if (shots if shots is not None else examples) == 0:
        raise PetError(f"--{'shots' if shots is not None else 'examples'} 0 draws nothing; give 1 or more")
    if seed < 0:
        raise PetError(f"--seed {seed}: must not be negative; give 0 or more")
    table = read_table(source, task.fields, labels=task.labels, label_map=task.label_map, columns=columns)
    gold = column_labels(table)
    drawn = sample_shots(
        gold,
        len(task.labels),
        shots=shots,
        examples=examples,
        seed=derive_seed(seed, "sample"),
        balanced=balanced,
        names=task.labels,
    )
    opened = open_source(source, "input")
    rows, names = _pick(opened, drawn.tolist())
    schema = arrow_schema(opened)
    left = None
    with writing(targets[0]) as place:
        write_rows(place, targets[0].suffix.lower(), rows, names, schema)
        if rest is not None:  # within, so that both files appear or neither does
            label = columns.get("label", "label")
            hidden = set() if keep_labels else {label} - {columns.get(field, field) for field in task.fields}
            kept = [name for name in names if name not in hidden]
            with writing(targets[1]) as beside:
                others = _others(opened, frozenset(drawn.tolist()))
                left = write_rows(beside, targets[1].suffix.lower(), others, kept, schema)
    counts = np.bincount(gold[drawn], minlength=len(task.labels))
    return Drawn({label: int(n) for label, n in zip(task.labels, counts, strict=True)}, left)


def _pick(source: Source, wanted: Sequence[int]) -> tuple[list[Row], list[str]]:
    """The wanted rows in the order in which they are wanted, and the columns of the whole table."""
    numbers = frozenset(wanted)
    columns = dict.fromkeys(column_names(source) or ())
    found: dict[int, Row] = {}
    for number, row in enumerate(whole_rows(source, "input")):
        if number in numbers:
            found[number] = row
        if source.kind == "json":  # a later line may have more of them than the first
            columns.update(dict.fromkeys(row))
    return [found[number] for number in wanted], list(columns)


def _others(source: Source, drawn: frozenset[int]) -> Iterator[Row]:
    return (row for number, row in enumerate(whole_rows(source, "input")) if number not in drawn)
