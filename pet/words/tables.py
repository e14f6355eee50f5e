"""Read the texts in which words are found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pet.data.label_sets import labels_of
from pet.data.read import read_table
from pet.data.source_names import text_columns
from pet.data.table_format import DETECT, TableFormat
from pet.task.task import Task

if TYPE_CHECKING:
    from datasets import Dataset


def read_texts(
    task: Task, sources: Mapping[str, str], columns: Mapping[str, str] = {}, table_format: TableFormat = DETECT
) -> dict[str, Dataset]:
    """Read tables of a task.

    Parameters
    ----------
    task : fields, labels and columns
    sources : ``train`` (labeled) or ``unlabeled`` -> source, as for `pet.data.read.read_table`
    columns, table_format : see `pet.data.read.read_table`

    Raises
    ------
    PetError
        With every mistake in the tables.
    """
    columns = {**task.columns, **columns}
    found = {}
    if "train" in sources:
        found["train"] = read_table(
            sources["train"],
            task.fields,
            labels=labels_of(task),
            label_map=task.label_map,
            columns=columns,
            name="train",
            table_format=table_format,
        )
    if "unlabeled" in sources:
        columns = text_columns(sources["unlabeled"], columns)
        found["unlabeled"] = read_table(
            sources["unlabeled"], task.fields, columns=columns, name="unlabeled", table_format=table_format
        )
    return found
