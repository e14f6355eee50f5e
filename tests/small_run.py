"""A run that takes seconds: a task of four topics, a few texts, a recipe of a few steps."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tiny_text import LABELS, news_rows

from pet.cli.main import main
from pet.store import directory

TASK = f"""\
task: topics
fields: [text]
labels: [{", ".join(LABELS)}]
verbalizer: {{{", ".join(f"{label}: {label.lower()}" for label in LABELS)}}}
patterns:
  - "{{mask}}: {{text}}"
  - "{{text}} It is {{mask}}."
"""
# The same for --tuning p-tuning, which requires {soft}.
SOFT_TASK = TASK.replace("{mask}: {text}", "{soft:2} {mask}: {text}").replace("It is {mask}", "{soft:it is} {mask}")
REVIEWS = """\
task: reviews
fields: [text]
labels: [bad, good]
verbalizer: {bad: sports, good: world}
patterns: ["{text} {mask}"]
"""
DIFFERENT = {"manifest.json", ".lock"}
# Options of every small run: one member per pattern, a few updates, rows that fit the tiny models.
QUICK = [
    *("--set", "repetitions=1", "--set", "steps=3", "--set", "labeled_batch=4", "--set", "unlabeled_batch=2"),
    *("--set", "student_steps=4", "--set", "student_batch=4", "--set", "supervised_steps=3"),
    *("--set", "merge=weighted", "--max-length", "64", "--device", "cpu", "--precision", "fp32"),
]


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write one JSON object per line."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write_inputs(folder: Path) -> Path:
    """Write task.yaml, train.jsonl (12 texts), pool.jsonl (16, unlabeled) and test.jsonl (12) to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = news_rows()
    (folder / "task.yaml").write_text(TASK, encoding="utf-8")
    write_rows(folder / "train.jsonl", rows[:12])
    write_rows(folder / "pool.jsonl", [{"id": row["id"], "text": row["text"]} for row in rows[12:28]])
    write_rows(folder / "test.jsonl", rows[28:])
    return folder


def write_workplace(folder: Path, model: Path) -> Path:
    """Create what the documentation's examples assume: a review task with data, and a finished run in runs/reviews."""
    rows = [row | {"label": "good" if i % 2 else "bad"} for i, row in enumerate(news_rows())]
    write_rows(folder / "train.jsonl", rows[:8])
    write_rows(folder / "test.jsonl", rows[:12])
    write_rows(folder / "pool.jsonl", [{"id": row["id"], "text": row["text"]} for row in rows[8:]])
    write_rows(folder / "checked.jsonl", rows[12:])
    (folder / "reviews.yaml").write_text(REVIEWS, encoding="utf-8")
    files = ["--train", folder / "train.jsonl", "--unlabeled", folder / "pool.jsonl"]
    pet("run", folder / "reviews.yaml", *files, "--model", model, *QUICK, "-q", "-o", folder / "runs" / "reviews")
    return folder


def run_options(inputs: Path, model: Path, *, parts: Iterable[str] = ("train", "unlabeled", "test")) -> list[str]:
    """Return arguments for ``pet run``, without ``-o``."""
    files = {"train": "train.jsonl", "unlabeled": "pool.jsonl", "test": "test.jsonl"}
    data = [text for part in parts for text in (f"--{part}", str(inputs / files[part]))]
    return ["run", str(inputs / "task.yaml"), *data, "--model", str(model), *QUICK]


def pet(*arguments: object, expect: int = 0) -> Result:
    """Run the ``pet`` command in this process, with separate output streams."""
    try:
        runner = CliRunner(mix_stderr=False)  # type: ignore[call-arg]  # click before 8.2
    except TypeError:
        runner = CliRunner()
    result = runner.invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == expect, f"exit status {result.exit_code}\n{result.stdout}\n{result.stderr}"
    return result


def refused(*arguments: object) -> str:
    """Run a command that must fail with status 2 and no standard output; return its message."""
    result = pet(*arguments, expect=2)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files of a run by name, except those with times, memory and process ids."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in DIFFERENT)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def same_files(found: Path, expected: Path) -> None:
    """Assert that two runs have the same files with the same bytes."""
    here, there = contents(found), contents(expected)
    assert sorted(here) == sorted(there)
    assert [name for name in there if here[name] != there[name]] == []


class Stop(BaseException):
    """Ends a run the way Ctrl-C does."""


def interrupted(made: int, *arguments: object) -> None:
    """Run a command that is stopped after it has made the files of this many stages."""
    left, make = [made], directory.make_files

    def some(*given: Any) -> dict[str, Any]:
        if not left[0]:
            raise Stop
        left[0] -= 1
        return make(*given)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(directory, "make_files", some)
        pet(*arguments)
