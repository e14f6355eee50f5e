"""``--delimiter``, ``--encoding`` and ``--quoting`` on the commands that read tables, and what is announced."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from pet.cli.main import main
from pet.run.load_run import read_settings

pytestmark = pytest.mark.filterwarnings("default::pet.data.table_format.TableNotice")
COMMANDS = [
    "run", "label", "distill", "predict", "evaluate", "check", "sample", "init", "prompts rank", "prompts train",
]  # fmt: skip
TASK = """\
task: tone
fields: [text]
labels: [good, bad]
verbalizer: {good: great, bad: terrible}
patterns: ["{text} It was {mask}."]
"""
LINES = ["text;label", *(f"Café {number}, bar;{label}" for number in range(6) for label in ("good", "bad"))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "task.yaml").write_text(TASK, encoding="utf-8")
    (tmp_path / "all.csv").write_bytes("\r\n".join([*LINES, ""]).encode("cp1252"))
    return tmp_path


def _call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_reads_tables_has_the_options(command: str) -> None:
    shown = _call(*command.split(), "--help").output
    assert all(option in shown for option in ("--delimiter", "--encoding", "--quoting"))


def test_a_spreadsheets_file_is_announced_in_one_line_and_read(folder: Path) -> None:
    command = ["sample", "task.yaml", "--input", "all.csv", "--shots", "2", "-o", "x.jsonl"]
    made = subprocess.run(  # a real process: pytest would catch the warning
        [sys.executable, "-m", "pet", *command], cwd=folder, capture_output=True, encoding="utf-8", check=True
    )
    (line,) = made.stderr.splitlines()
    assert line.startswith("input: all.csv: ") and "cp1252" in line and "';'" in line
    rows = (folder / "x.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(row)["text"][:4] for row in rows} == {"Café"}


def test_what_is_given_is_not_announced(folder: Path, recwarn: pytest.WarningsRecorder) -> None:
    given = ["--delimiter", ";", "--encoding", "cp1252", "--quoting", "none"]
    made = _call(
        "sample", folder / "task.yaml", "--input", folder / "all.csv", "--shots", 2, "-o", folder / "x.csv", *given
    )
    assert (made.exit_code, made.stderr) == (0, "") and not recwarn
    wrong = [*given[:2], "--encoding", "utf-8"]
    made = _call("sample", folder / "task.yaml", "--input", folder / "all.csv", "--shots", 2, "-o", "y.csv", *wrong)
    assert made.exit_code == 2 and "all.csv:2: " in made.stderr and "--encoding" in made.stderr


def test_a_new_task_and_its_next_command_have_the_options(folder: Path) -> None:
    made = _call("init", "tone", "--input", folder / "all.csv", "--delimiter", "semicolon", "-o", folder / "new.yaml")
    assert made.exit_code == 0, made.output
    assert "--delimiter ';'" in made.stdout
    assert yaml.safe_load((folder / "new.yaml").read_text(encoding="utf-8"))["labels"] == ["bad", "good"]


def test_a_run_keeps_the_options_in_its_configuration(tiny_model: Path, tmp_path: Path, folder: Path) -> None:
    output = tmp_path / "run"
    made = _call(
        "run", folder / "task.yaml", "--train", folder / "all.csv", "--delimiter", ";", "--encoding", "Windows-1252",
        "--shots", 1, "--model", tiny_model, "--set", "steps=1", "--set", "min_epochs=0", "--patterns", "1",
        "--set", "repetitions=1", "--max-length", 64, "--device", "cpu", "-o", output, "-q",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    assert read_settings(output).table_format == {"delimiter": ";", "encoding": "cp1252"}
    again = _call("run", output / "config.yaml", "-q")
    assert again.exit_code == 0, again.output
