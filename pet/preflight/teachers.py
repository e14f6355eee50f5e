"""What teachers would cost: calls, tokens and time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pet.data.checks import column_labels
from pet.data.pick import evenly_spaced, pick_columns
from pet.members import chat
from pet.members.chat import MOST_JUDGED
from pet.members.spec import MemberSpec
from pet.preflight.report import CheckReport, TeacherCost
from pet.task.task import Task
from pet.teachers.access import Access
from pet.teachers.address import parse_address
from pet.teachers.prompt import Example, Fields, Prompt, spare_examples
from pet.teachers.settings import TeacherSettings
from pet.teachers.teacher import NULL_TEXT, Teacher, estimated_tokens

if TYPE_CHECKING:
    from datasets import Dataset

_ROWS = 50  # texts of each table whose length is measured


def check_teachers(
    specs: Sequence[MemberSpec],
    task: Task,
    settings: TeacherSettings,
    tables: Mapping[str, Dataset],
    access: Access,
    report: CheckReport,
) -> None:
    """Ask each teacher about one text without content, and estimate what all texts cost.

    Parameters
    ----------
    specs : members of a run; those that ask no server are left out
    task, settings, tables : of the run
    access : limits of teachers
    report : collects costs, and errors of servers
    """
    for spec in specs:
        if spec.kind == chat.KIND:
            with report.collect_errors():
                report.teachers.append(_cost(spec, Prompt(task, settings), tables, access))


def _cost(spec: MemberSpec, prompt: Prompt, tables: Mapping[str, Dataset], access: Access) -> TeacherCost:
    address = parse_address(str(spec.options["address"]))
    task, settings = prompt.task, prompt.settings
    limits = replace(access, addresses=frozenset([str(address)]), max_calls=None, max_tokens=None)
    teacher = Teacher(spec.name, address, prompt, limits, "check")
    order = prompt.orders(1)[0]
    null = estimated_tokens(prompt.messages((NULL_TEXT,) * len(task.fields), order))
    seconds, scale = None, 1.0
    with teacher.session() as session:
        before, start = (session.budget.calls, session.budget.tokens), time.perf_counter()
        teacher.dialect = session.probe()
        asked = session.budget.calls - before[0]
        if asked:  # otherwise the answer was on disk
            seconds = (time.perf_counter() - start) / asked
            scale = max(1, session.budget.tokens - before[1]) / null
    if "train" in tables:
        examples = _examples(tables["train"], task)
        prompt = replace(prompt, examples=spare_examples(examples, len(task.labels), settings.examples))
    texts = {name: _texts(name, len(table), settings) for name, table in tables.items()}
    calls = sum(texts.values()) * teacher.calls
    tokens = sum(texts[name] * _tokens(table, prompt) for name, table in tables.items()) * teacher.calls * scale
    limited = ""
    if access.max_calls is not None and calls > access.max_calls:
        calls, tokens, limited = access.max_calls, tokens * access.max_calls / calls, "--max-calls"
    if access.max_tokens is not None and tokens > access.max_tokens:
        calls, tokens, limited = round(calls * access.max_tokens / tokens), access.max_tokens, "--max-tokens"
    took = None if seconds is None else calls * seconds
    return TeacherCost(
        spec.name, str(address), teacher.dialect.kind, sum(texts.values()), calls, round(tokens), took, limited
    )


def _texts(name: str, rows: int, settings: TeacherSettings) -> int:
    """Return how many texts of a table are asked about."""
    if name == "train":
        return min(rows, MOST_JUDGED)
    return min(rows, settings.texts) if name == "unlabeled" and settings.texts else rows


def _tokens(table: Dataset, prompt: Prompt) -> float:
    """Return about how many tokens a request about a text of a table has."""
    order = prompt.orders(1)[0]
    some = _fields(evenly_spaced(table, _ROWS), prompt.task)
    return float(np.mean([estimated_tokens(prompt.messages(fields, order)) for fields in some]))


def _fields(table: Dataset, task: Task) -> list[Fields]:
    some = pick_columns(table, task.fields)
    return list(zip(*(map(str, some[name]) for name in task.fields), strict=True))


def _examples(table: Dataset, task: Task) -> list[Example]:
    some = evenly_spaced(table, MOST_JUDGED)
    labels = column_labels(some).tolist()
    return [Example(fields, label) for fields, label in zip(_fields(some, task), labels, strict=True)]
