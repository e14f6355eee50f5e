"""Read and check the data of a run, and choose texts to try the patterns on."""

from __future__ import annotations

from collections.abc import Mapping

from datasets import Dataset

from pet.data.checks import check_labels_occur, check_tables, rows_without
from pet.data.label_sets import labels_of
from pet.data.pick import evenly_spaced, pick_rows
from pet.data.read import read_table
from pet.data.run_texts import NO_TEXTS_LEFT, RunDraw
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
    draw: RunDraw | None = None,
) -> dict[str, Dataset]:
    """Read all tables, draw texts, and check them together. Problems and counts of rows and labels go to the report.

    Parameters
    ----------
    task : fields and labels
    sources : ``train``, ``unlabeled``, or ``test`` -> file or hub data set
    columns : field (or ``label``, ``id``) -> column
    report : is filled in
    table_format : encoding, delimiter and quoting; default: detected
    draw : which texts a run uses; default: all

    Returns
    -------
    dict
        The tables that can be read. The pool has no text of train.
    """
    draw, tables = draw or RunDraw(), {}
    for name, source in sources.items():
        is_pool = name == "unlabeled"
        if name == "train" and draw.nothing_labeled:
            continue
        with report.collect_errors():
            found = read_table(
                source,
                task.fields,
                labels=None if is_pool else labels_of(task),
                label_map={} if is_pool else task.label_map,
                columns=text_columns(source, columns) if is_pool else columns,
                table_format=table_format,
                name=name,
            )
            if name == "train":
                found = draw.labeled(found, task.labels)
                check_labels_occur(found, len(task.labels))
            tables[name] = found
    checked = check_tables(task.fields, task.labels, tables.get("train"), tables.get("unlabeled"), tables.get("test"))
    report.rows = dict(checked.rows)
    report.label_counts = dict(checked.label_counts)
    report.warnings += checked.messages
    if "unlabeled" in tables:
        keys = checked.keys["unlabeled"]
        rows = rows_without(keys, checked.keys.get("train", keys[:0]))
        if len(keys) and not len(rows):
            report.errors.append(NO_TEXTS_LEFT)
            return tables
        rows = draw.pool(rows)
        if len(rows) < len(keys):
            tables["unlabeled"] = pick_rows(tables["unlabeled"], rows)
        report.rows["unlabeled"] = len(rows)
    return tables


def texts_to_fill(task: Task, tables: Mapping[str, Dataset]) -> dict[str, Dataset]:
    """Choose texts to fill the patterns with: at most `MAX_FILLED` per table.

    Without tables, one row named ``example`` holds the names of the fields. If a pattern keeps a field (``!keep``),
    all texts are used, because one that does not fit would stop a run.
    """
    if not tables:
        example = {field: [field.replace("_", " ")] for field in task.fields}
        return {"example": Dataset.from_dict({"id": ["example"], **example})}
    if any(pattern.template.keeps_fields for pattern in task.patterns):
        return dict(tables)
    return {name: evenly_spaced(table, MAX_FILLED) for name, table in tables.items()}
