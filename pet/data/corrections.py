"""Texts that people reviewed become labeled texts, and leave the pool."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pet.data.checks import Keys, rows_without, text_key, text_keys
from pet.data.pick import pick_columns, pick_rows
from pet.data.reviewed import LABELED, NONE_OF_THESE, Decision, decisions_in, review_content
from pet.errors import PetError
from pet.task.task import Task

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Corrections:
    """What people said about texts, as a run needs it.

    Attributes
    ----------
    labeled : table with ``id``, the task's fields, and ``label``: position in the task's labels, or 0 and 1 for each
        label if a text may have several
    outside : `pet.data.checks.text_key` of each text that has none of the labels; empty if a text may have several,
        because such a text is a labeled one
    contents : the files, as they were read
    """

    labeled: Dataset
    outside: Keys
    contents: tuple[bytes, ...] = ()

    def add_to(self, train: Dataset | None, fields: Sequence[str]) -> Dataset:
        """Return labeled texts with the corrections behind them; a corrected text replaces its earlier label."""
        if train is None:
            return self.labeled
        kept = rows_without(text_keys(train, fields), text_keys(self.labeled, fields))
        return _joined(pick_rows(train, kept), self.labeled)

    def add_texts(self, table: Dataset, fields: Sequence[str]) -> Dataset:
        """Return texts without labels with the reviewed texts behind them."""
        return _joined(table, pick_columns(self.labeled, ["id", *fields]))


def _joined(first: Dataset, second: Dataset) -> Dataset:
    """Return the rows of both tables, with the columns of the second one."""
    import datasets

    added = second.with_format("arrow")[:]
    before = pick_columns(first, added.column_names).with_format("arrow")[:]
    return datasets.Dataset(pa.concat_tables([before.cast(added.schema), added]))


def read_corrections(paths: str | Sequence[str], task: Task) -> Corrections:
    """Read the ``reviewed.jsonl`` that `pet review` writes, or several of them.

    Texts that were skipped, or about which somebody was unsure, stay where they are.

    Parameters
    ----------
    paths : the file or files; if several decide about a text, the last one counts
    task : of the run

    Raises
    ------
    PetError
        For mistakes in a file, or if no text in them is labeled.
    """
    import datasets

    files = [paths] if isinstance(paths, str) else paths
    contents = tuple(map(review_content, files))
    decisions = _joined_decisions(
        [decisions_in(content, file, task).values() for content, file in zip(contents, files, strict=True)], task
    )
    labeling = (LABELED, NONE_OF_THESE) if task.multi_label else (LABELED,)
    labeled = [decision for decision in decisions if decision.verdict in labeling]
    if not labeled:
        raise PetError(f"{', '.join(files)}: no text is labeled yet; label some with `pet review RUN`")
    columns: dict[str, Any] = {"id": [decision.id for decision in labeled]}
    columns |= {name: [decision.fields[name] for decision in labeled] for name in task.fields}
    belongs = np.array([[label in decision.labels for label in task.labels] for decision in labeled])
    count = len(task.labels)
    columns["label"] = (
        pa.FixedSizeListArray.from_arrays(pa.array(belongs.astype(np.int8).reshape(-1)), count)
        if task.multi_label
        else belongs.argmax(axis=1)
    )
    outside = [
        _key(decision, task) for decision in decisions if decision.verdict == NONE_OF_THESE and not task.multi_label
    ]
    return Corrections(datasets.Dataset(pa.table(columns)), np.asarray(outside, dtype=np.uint64), contents)


def _joined_decisions(files: Iterable[Collection[Decision]], task: Task) -> list[Decision]:
    """Return the decisions of all files. Texts, not ids, tell which are about the same text: pools may differ."""
    joined: list[Decision] = []
    for decisions in files:
        own = {_key(decision, task) for decision in decisions}
        joined = [*(decision for decision in joined if _key(decision, task) not in own), *decisions]
    return joined


def _key(decision: Decision, task: Task) -> int:
    return text_key([decision.fields[name] for name in task.fields])
