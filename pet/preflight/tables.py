"""Read and check the data of a run, and choose texts to try the patterns on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from datasets import Dataset

from pet.data.checks import check_tables, rows_without
from pet.data.label_sets import labels_of
from pet.data.pick import pick_rows
from pet.data.read import read_table
from pet.data.source_names import text_columns
from pet.data.table_format import DETECT, TableFormat
from pet.preflight.report import CheckReport
from pet.task.task import Task

MAX_FILLED = 5000  # texts per table for filling patterns


def read_tables(
    task: Task,
    sources: Mapping[str, str],
    columns: Mapping[str, str],
    report: CheckReport,
    table_format: TableFormat = DETECT,
) -> dict[str, Dataset]:
    """Read all tables and check them together. Problems, row counts, and label counts go to the report.

    Parameters
    ----------
    task : fields and labels
    sources : ``train``, ``unlabeled``, or ``test`` -> file or hub data set
    columns : field (or ``label``, ``id``) -> column
    report : is filled in
    table_format : encoding, delimiter and quoting; default: detected

    Returns
    -------
    dict
        The tables that can be read.
    """
    tables = {}
    for name, source in sources.items():
        is_pool = name == "unlabeled"
        with report.collect_errors():
            tables[name] = read_table(
                source,
                task.fields,
                labels=None if is_pool else labels_of(task),
                label_map={} if is_pool else task.label_map,
                columns=text_columns(source, columns) if is_pool else columns,
                table_format=table_format,
                name=name,
            )
    found = check_tables(task.fields, task.labels, tables.get("train"), tables.get("unlabeled"), tables.get("test"))
    report.rows = dict(found.rows)
    report.label_counts = dict(found.label_counts)
    report.warnings += found.messages
    keys = found.keys
    if "train" in keys and "unlabeled" in keys and not len(rows_without(keys["unlabeled"], keys["train"])):
        report.warnings.append(
            "unlabeled: every text is also in train; a run fails unless --examples or --shots draws fewer training "
            "texts, so give other texts"
        )
    return tables


def texts_to_fill(task: Task, tables: Mapping[str, Dataset]) -> dict[str, Dataset]:
    """Choose texts to fill the patterns with: at most `MAX_FILLED` per table.

    Without tables, one row named ``example`` holds the names of the fields. If a pattern keeps a field (``!keep``),
    all texts are used, because one that does not fit would stop a run.
    """
    if not tables:
        return {"example": Dataset.from_dict({field: [field.replace("_", " ")] for field in task.fields})}
    if any(part.keep for pattern in task.patterns for part in pattern.template.fields):
        return dict(tables)
    return {name: evenly_spaced(table, MAX_FILLED) for name, table in tables.items()}


def evenly_spaced(table: Dataset, most: int) -> Dataset:
    """Return at most `most` evenly spaced rows of a table."""
    if len(table) <= most:
        return table
    return pick_rows(table, np.linspace(0, len(table) - 1, most).astype(np.int64))
