"""``pet tasks``: list or print the task files that come with the package."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import click

from pet.cli.echo import echo, echo_file, echo_json
from pet.cli.help import Command
from pet.cli.options import json_option

if TYPE_CHECKING:
    from pet.task.task import Task

EXAMPLES = """\b
Examples:
  pet tasks
  pet tasks agnews
  pet tasks agnews > mine.yaml
  pet tasks --json
"""
WIDEST = 48  # characters of the column `labels`


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("name", required=False, metavar="[TASK]")
@json_option
def tasks(name: str | None, as_json: bool) -> None:
    """List the tasks that come with the package, or print the file of one.

    TASK is a name from the list, or the path of a task file, which is checked and printed.
    """
    from pet.task.task import Task, find_task, list_tasks

    if name is None:
        shipped = [Task.load(known) for known in list_tasks()]
        if as_json:
            echo_json([_about(task) for task in shipped])
        else:
            echo(_table(shipped))
        return
    task = Task.load(name)
    if as_json:
        echo_json(task.to_dict())
    else:
        echo_file(find_task(name).read_text(encoding="utf-8-sig"))


def _about(task: Task) -> dict[str, Any]:
    return {
        "task": task.name,
        "name": task.path.stem if task.path else task.name,
        "description": task.description,
        "fields": list(task.fields),
        "labels": list(task.labels),
        "patterns": [pattern.template.source for pattern in task.patterns],
    }


def _table(shipped: list[Task]) -> str:
    from pet.report.tables import text_table

    rows = [
        [
            task.path.stem if task.path else task.name,
            ", ".join(task.fields),
            len(task.patterns),
            textwrap.shorten(f"{len(task.labels)}: {', '.join(task.labels)}", WIDEST, placeholder=" ..."),
        ]
        for task in shipped
    ]
    return text_table(rows, ["task", "fields", "patterns", "labels"])
