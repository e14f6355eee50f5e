"""``pet tasks`` lists the task files that come with the package, and prints one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import pet.task.task
from pet.cli.main import main
from pet.task.task import Task

TASK = """\
# how films are liked
task: films
fields: [text]
labels: [good, bad]
verbalizer: {good: great, bad: terrible}
patterns: ["{text} It was {mask}."]
"""


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two tasks that stand in for those of the package; one has many labels."""
    labels = ", ".join(f"label{i}" for i in range(9))
    words = ", ".join(f"label{i}: w{i}" for i in range(9))
    head = f"task: many\nfields: [a, b]\nlabels: [{labels}]\n"
    many = head + f'verbalizer: {{{words}}}\npatterns: ["{{a}} {{mask}} {{b}}"]\n'
    (tmp_path / "films.yaml").write_text(TASK)
    (tmp_path / "many.yaml").write_text(many)
    monkeypatch.setattr(pet.task.task, "folder", lambda kind: tmp_path)
    return tmp_path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["tasks", *map(str, arguments)])


def test_the_list_names_fields_patterns_and_labels(shipped: Path) -> None:
    lines = call().stdout.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["films", "many"]
    assert "2: good, bad" in lines[2]
    assert "a, b" in lines[3] and "9: label0, label1, label2, label3, label4, ..." in lines[3]


def test_the_json_list_is_not_shortened(shipped: Path) -> None:
    films, many = json.loads(call("--json").stdout)
    assert films == {
        "task": "films", "name": "films", "description": "", "fields": ["text"], "labels": ["good", "bad"],
        "patterns": ["{text} It was {mask}."],
    }  # fmt: skip
    assert len(many["labels"]) == 9


def test_one_task_is_printed_as_it_is_written(shipped: Path) -> None:
    assert call("films").stdout == TASK
    assert call(shipped / "films.yaml").stdout == TASK
    assert Task.from_dict(json.loads(call("films", "--json").stdout)) == Task.load("films")


def test_all_tasks_of_the_package_load() -> None:
    result = call("--json")
    assert result.exit_code == 0, result.output
    assert [task["name"] for task in json.loads(result.stdout)] == pet.task.task.list_tasks()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "'films'"),
        ("task: x\n", "fields"),
        ("a: !!python/name:os.system x\n", "tag"),
    ],
)
def test_a_task_that_does_not_load_is_named_and_nothing_is_printed(
    content: str | None, message: str, shipped: Path, tmp_path: Path
) -> None:
    name: object = "film"
    if content is not None:
        name = tmp_path / "bad.yaml"
        Path(str(name)).write_text(content)
    result = call(name)
    assert result.exit_code == 2
    assert message in result.stderr and not result.stdout
