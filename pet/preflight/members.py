"""Check the members that a task names besides its patterns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from pet.data.ids import match_ids
from pet.members import external
from pet.members.external import read_external
from pet.members.kinds import parse_member
from pet.preflight.report import CheckReport
from pet.task.task import Task

if TYPE_CHECKING:
    from datasets import Dataset


def check_members(task: Task, tables: Mapping[str, Dataset], report: CheckReport) -> None:
    """Report members that do not exist, files with mistakes, and tables that a file has no scores for.

    Parameters
    ----------
    task : the task
    tables : the tables that were read
    report : collects errors and warnings
    """
    for text in task.members:
        with report.collect_errors():
            spec = parse_member(text)
            if spec.kind == external.KIND:
                ids, _ = read_external(spec.options["file"], task.labels, spec.name)
                report.warnings += _coverage(spec.name, pa.array(ids, pa.string()), tables)


def _coverage(name: str, ids: pa.Array, tables: Mapping[str, Dataset]) -> list[str]:
    """One line for each table of which the file lacks texts."""
    lines = []
    for part, table in tables.items():
        there = match_ids(pa.array(table["id"], pa.string()), ids).is_valid().sum().as_py()
        if there < len(table):
            lines.append(
                f"member {name}: has scores for {there} of {len(table)} texts of {part} and abstains on the others; "
                "scores are matched by id"
            )
    return lines
