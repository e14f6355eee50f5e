"""Check the members that a task names besides its patterns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from pet.data.checks import check_ids, text_keys
from pet.data.ids import match_ids
from pet.members import external, pattern, rules
from pet.members.external import read_external
from pet.members.kinds import ONE_LABEL, check_member_model, parse_member
from pet.members.rules import read_rules
from pet.members.spec import MemberSpec, check_names, pattern_spec
from pet.preflight.report import CheckReport
from pet.recipe import Recipe
from pet.task.task import Task, one_label_only

if TYPE_CHECKING:
    from datasets import Dataset


def check_members(
    task: Task,
    recipe: Recipe,
    members: Sequence[str],
    tables: Mapping[str, Dataset],
    report: CheckReport,
    *,
    allow_pickle: bool = False,
) -> list[MemberSpec]:
    """Report members that do not exist or share a name, files with mistakes, and tables that a file has no scores for.

    Returns the members without mistakes.

    Parameters
    ----------
    task, recipe : what a run would do
    members : further members, as text
    tables : the tables that were read
    report : collects errors and warnings
    allow_pickle : whether pickled weights may be opened
    """
    found = []
    for text in (*task.members, *members):
        with report.collect_errors():
            spec = parse_member(text)
            if spec.kind in ONE_LABEL:
                one_label_only(task, f"the member {text}", "leave it out")
            report.warnings += [line for _, line in check_file(spec, task, tables)]
            check_member_model(spec, allow_pickle=allow_pickle)
            found.append(spec)
    with report.collect_errors():
        check_names(spec.name for spec in (*_patterns(task, recipe.member.repetitions), *found))
        if any(spec.kind == external.KIND for spec in found):
            check_ids(tables, {name: text_keys(table, task.fields) for name, table in tables.items()})
    return found


def _patterns(task: Task, repetitions: int) -> list[MemberSpec]:
    return [pattern_spec(pattern.KIND, n, k) for n in range(len(task.patterns)) for k in range(repetitions)]


def check_file(spec: MemberSpec, task: Task, tables: Mapping[str, Dataset]) -> list[tuple[int, str]]:
    """Check the file of a member that is made from one.

    Returns
    -------
    for each table that has texts without scores in the file: how many have some, and a line that says so

    Raises
    ------
    PetError
        With every mistake in the file.
    """
    if spec.kind == rules.KIND:
        read_rules(spec.options["file"], task.labels, spec.name)
    if spec.kind != external.KIND:
        return []
    ids = pa.array(read_external(spec.options["file"], task.labels, spec.name)[0], pa.string())
    found = []
    for part, table in tables.items():
        there = match_ids(pa.array(table["id"], pa.string()), ids).is_valid().sum().as_py()
        line = (
            f"member {spec.name}: has scores for {there} of {len(table)} texts of {part} and abstains on the others; "
            "scores are matched by id"
        )
        found += [(there, line)] if there < len(table) else []
    return found
