"""``--pool-gold``: accuracy of pseudo-labels against hidden labels of the pool, for diagnosis only.

No stage of a run sees these labels, and neither `RunContext` nor the configuration holds them. This module reads the
files of finished stages and returns figures for people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pet.data.checks import column_labels, text_keys
from pet.data.columns import same_columns
from pet.data.ids import match_ids
from pet.data.open_source import open_source
from pet.data.pick import pick_rows
from pet.data.read import read_table
from pet.data.source import column_names
from pet.data.table_format import DETECT, TableFormat
from pet.ensemble.pseudo_labels import most_probable, read_pseudo_labels
from pet.errors import PetError
from pet.run.inputs import RunData
from pet.task.task import Task

if TYPE_CHECKING:
    from datasets import Dataset

Array = NDArray[Any]


def read_pool_gold(
    source: str, task: Task, data: RunData, columns: Mapping[str, str], table_format: TableFormat = DETECT
) -> Array:
    """Read the label of each text of the pool.

    Parameters
    ----------
    source : file with labels and ids, with or without texts; rows are matched with the pool by id
    task : fields and labels
    data : the texts of the run
    columns : field (or ``label``, ``id``) -> column of the file
    table_format : encoding, delimiter and quoting of the file; default: detected

    Returns
    -------
    int64 array of shape (rows of the pool,); -1 for a text that is not in the file

    Raises
    ------
    PetError
        If the file cannot be read, contains none of the ids, or has a different text for an id.
    """
    if data.pool is None:
        raise PetError("--pool-gold requires --unlabeled, whose labels it contains")
    pool = data.pool
    header = column_names(open_source(source, "pool-gold", table_format)) or []
    with_texts = all(same_columns(columns.get(name, name), header) for name in task.fields)
    if not with_texts and columns.get("id", "id") not in header:
        raise PetError(
            f"--pool-gold {source}: has neither the texts ({', '.join(task.fields)}) nor a column `id`, so its labels "
            "cannot be matched with the unlabeled texts; add one of them"
        )
    fields = task.fields if with_texts else []
    columns = {name: column for name, column in columns.items() if name in (*fields, "label", "id")}
    labels: dict[str, Any] = {"labels": task.labels, "label_map": task.label_map}
    table = read_table(source, fields, **labels, columns=columns, name="pool-gold", table_format=table_format)
    ids, there = (pa.array(part["id"], pa.string()) for part in (pool, table))
    rows = np.asarray(pc.fill_null(match_ids(ids, there), -1), dtype=np.int64)
    known = np.flatnonzero(rows >= 0)
    if not len(known):
        raise PetError(
            f"--pool-gold {source}: none of its ids is in the unlabeled texts; use the same ids in both files, or "
            "the same file for both options"
        )
    if with_texts:
        _compare(source, task, data, known, pick_rows(table, rows[known]))
    gold = np.full(len(pool), -1, dtype=np.int64)
    gold[known] = column_labels(table)[rows[known]]
    return gold


def _compare(source: str, task: Task, data: RunData, known: Array, table: Dataset) -> None:
    """Check that every id stands for the same text as in the pool."""
    differs = data.keys["pool"][known] != text_keys(table, task.fields)
    if differs.any() and data.pool is not None:
        first = data.pool[int(known[differs.argmax()])]["id"]
        raise PetError(
            f"--pool-gold {source}: id {first!r} has a different text in the unlabeled texts ({int(differs.sum())} of "
            f"{len(known)} differ); use the same ids in both files, or give the same file to both options"
        )


def pseudo_label_accuracy(run: Path, generation: int, gold: Array, labels: Sequence[str]) -> dict[str, Any]:
    """Compute the accuracy of a generation's labels from its files.

    Parameters
    ----------
    run : the run directory
    generation : a finished generation
    gold : from `read_pool_gold`
    labels : of the task

    Returns
    -------
    dict with ``accuracy`` (of the generation's labels of the pool), ``label_accuracy`` (precision of each
    label), and the same for the texts that members learned from, over all members: ``chosen_accuracy``,
    ``label_chosen_accuracy``. None if there are no such texts.
    """
    folder = run / f"g{generation}"
    said = most_probable(folder / "labels.parquet", labels)
    figures = dict(zip(("accuracy", "label_accuracy"), _right(said, gold, len(labels)), strict=True))
    files = sorted((folder / "examples").glob("*.parquet"))
    parts = [read_pseudo_labels(file, labels, len(gold))[:2] for file in files]
    if parts:
        rows, chosen = (np.concatenate(column) for column in zip(*parts, strict=True))
        right = _right(chosen, gold[rows], len(labels))
        figures |= dict(zip(("chosen_accuracy", "label_chosen_accuracy"), right, strict=True))
    return figures


def _right(said: Array, gold: Array, labels: int) -> tuple[float | None, list[float | None]]:
    """Accuracy of the labels, and the precision of each label."""
    said, gold = said[gold >= 0], gold[gold >= 0]
    counts = np.bincount(said, minlength=labels)
    right = np.bincount(said[said == gold], minlength=labels)
    each = [float(r / n) if n else None for r, n in zip(right, counts, strict=True)]
    return (float(right.sum() / counts.sum()) if counts.sum() else None), each
