"""Control characters in labels, columns, texts, and names of files and folders reach no terminal and no page."""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import sys
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result
from small_run import QUICK, pet, write_rows

from pet.cli import main as cli
from pet.cli.echo import echo_file
from pet.task.task import find_task

pytestmark = pytest.mark.usefixtures("one_thread")

# An escape sequence, reversed reading order, C1, zero width, a line separator: what may be in a name.
EVIL = "\x1b[2J\u202e\x9b31m\u200b\u2028"
LABELS = [f"bad{EVIL}", f"good{EVIL}"]
ROOMS = Path(cli.__file__).parent


@dataclass(frozen=True)
class Place:
    """Files with hostile names and contents, and a run made of them."""

    task: Path
    model: Path
    train: Path
    pool: Path
    run: Path
    said: Result


@pytest.fixture(scope="module")
def place(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("hostile") / f"fol{EVIL}der"
    folder.mkdir()
    task, model = folder / f"ta{EVIL}sk.yaml", folder / f"mo{EVIL}del"
    document = {
        "task": f"topics{EVIL}",
        "description": f"about{EVIL}",
        "fields": ["text"],
        "labels": LABELS,
        "verbalizer": {LABELS[0]: "bad", LABELS[1]: "good"},
        "patterns": [f"x{EVIL.replace(chr(0x2028), '')} {{mask}}: {{text}}"],
    }
    task.write_text(json.dumps(document), encoding="utf-8")  # JSON is YAML
    shutil.copytree(tiny_model, model)
    rows = [{"id": f"i{i}{EVIL}", "text": f"text {i} {EVIL}", "label": LABELS[i % 2]} for i in range(8)]
    train = write_rows(folder / f"tr{EVIL}ain.jsonl", rows)
    pool = write_rows(
        folder / f"po{EVIL}ol.jsonl", [{"id": f"p{row['id']}", "text": f"p{row['text']}"} for row in rows]
    )
    run = folder / f"r{EVIL}un"
    options = ["--train", train, "--test", train, "--unlabeled", pool, "--model", model, *QUICK]
    yield Place(task, model, train, pool, run, pet("run", task, *options, "-o", run))


def check_harmless(text: str) -> None:
    """Fail if a text contains a character that a terminal or a page obeys."""
    hidden = [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in "\n\t"]
    assert not hidden, f"{hidden!r} in {text!r}"


def check_said(result: Result, names: str) -> None:
    check_harmless(result.stdout)
    check_harmless(result.stderr.replace("\r", "\n"))
    assert names in result.stdout + result.stderr
    assert r"\u202e" in result.stdout + result.stderr


def test_a_run_prints_escapes(place: Place) -> None:
    check_said(place.said, "r\\x1b[2J")


@pytest.mark.parametrize("mistake", ["", "column", "file", "model", "label", "option", "choice"])
@pytest.mark.parametrize("command", ["check", "label", "predict", "evaluate", "distill", "sample", "init"])
def test_every_command_prints_escapes(place: Place, tmp_path: Path, command: str, mistake: str) -> None:
    given = arguments(place, tmp_path, command)
    if mistake == "column":
        given += ["--text", f"no{EVIL}ne"] if command == "init" else ["--column", f"text=no{EVIL}ne"]
    elif mistake == "file":
        given = [tmp_path / f"no{EVIL}ne.jsonl" if x in (place.train, place.pool) else x for x in given]
    elif mistake == "model":
        given = [tmp_path / f"no{EVIL}ne" if x in (place.model, place.run, place.task) else x for x in given]
    elif mistake == "label":
        rows = [{"text": "a", "label": f"other{EVIL}", "id": 1}]
        wrong = write_rows(tmp_path / f"wr{EVIL}ong.jsonl", rows)
        given = [wrong if x == place.train else x for x in given]
    elif mistake == "option":
        given.append(f"--no{EVIL}ne")
    elif mistake == "choice":
        given += [{"init": "--label", "sample": "--shots"}.get(command, "--device"), f"no{EVIL}ne"]
    result = run_anyhow(command, *given)
    check_harmless(result.stdout)
    check_harmless(result.stderr.replace("\r", "\n"))
    assert r"\u202e" in result.stdout + result.stderr or (mistake, result.exit_code) == ("label", 0)


def run_anyhow(*arguments: object) -> Result:
    """Run a command that may fail with status 2."""
    try:
        return pet(*arguments)
    except AssertionError:
        return pet(*arguments, expect=2)


def arguments(place: Place, folder: Path, command: str) -> list[object]:
    """The arguments of a command that succeeds on the hostile files."""
    train, run = place.train, place.run
    output = folder / f"o{EVIL}ut.jsonl"
    compute = ["--device", "cpu"]
    return {
        "check": [place.task, "--train", train, "--model", place.model, *compute],
        "label": [run, "--input", train, "--keep", "text", "-o", output, *compute],
        "predict": [run, "--input", train, "--keep", "text", "-o", "-", *compute],
        "evaluate": [run, "--input", train, *compute],
        "distill": [
            *("--labels", run / "g0" / "labels.parquet", "--input", place.pool, "--task", place.task),
            *("--model", place.model, *QUICK, "-o", folder / f"st{EVIL}udent"),
        ],
        "sample": [place.task, "--input", train, "--shots", "2", "-o", output],
        "init": [f"new{EVIL}", "--input", train, "-o", folder / f"ta{EVIL}sk.yaml"],
    }[command]


OTHER_COMMANDS = {
    "tasks": lambda place, folder: [f"no{EVIL}ne"],
    "adapt": lambda place, folder: ["--text", folder / f"no{EVIL}ne.txt", "-o", folder / f"o{EVIL}ut"],
    "prompts list": lambda place, folder: ["--library", place.task],
    "prompts add": lambda place, folder: [place.run, "--library", folder],
    "prompts project": lambda place, folder: [f"no{EVIL}ne", "--from", place.model, "--model", place.model],
    "prompts train": lambda place, folder: [f"{place.task}={place.train}", "--name", "x", "--library", folder],
    "prompts unify": lambda place, folder: [place.task, "-o", folder / f"o{EVIL}ut.yaml"],
    "prompts rank": lambda place, folder: [place.task, "--train", place.train, "--library", folder],
    f"no{EVIL}ne": lambda place, folder: [],
}


@pytest.mark.parametrize("command", OTHER_COMMANDS, ids=lambda command: command.encode("unicode_escape").decode())
def test_the_other_commands_print_escapes(place: Place, tmp_path: Path, command: str) -> None:
    folder = tmp_path / f"li{EVIL}b"
    folder.mkdir()
    result = run_anyhow(*command.split(" "), *OTHER_COMMANDS[command](place, folder))
    check_said(result, "\\x1b[2J")


def test_a_task_file_is_printed_unchanged_into_a_pipe_and_escaped_on_a_terminal(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(f"# \u202e\n{Path(find_task('agnews')).read_text(encoding='utf-8')}", encoding="utf-8")
    content = path.read_text(encoding="utf-8")
    assert pet("tasks", path).stdout == content
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    echo_file(content)
    check_harmless(capsys.readouterr().out)


@pytest.mark.parametrize("command", ["check", "label", "evaluate", "sample"])
def test_json_output_is_escaped_and_keeps_its_meaning(place: Place, tmp_path: Path, command: str) -> None:
    result = run_anyhow(command, *arguments(place, tmp_path, command), "--json")
    check_harmless(result.stdout)
    assert LABELS[0] in json.dumps(json.loads(result.stdout), ensure_ascii=False).replace("\\u001b", "\x1b")


def test_predictions_on_standard_output_are_escaped_and_those_in_a_file_are_not(place: Place, tmp_path: Path) -> None:
    options = ["--input", place.train, "--keep", "text", "--device", "cpu"]
    printed = pet("predict", place.run, *options, "-o", "-").stdout
    check_harmless(printed)
    pet("predict", place.run, *options, "-o", tmp_path / "p.jsonl")
    written = (tmp_path / "p.jsonl").read_text(encoding="utf-8")
    assert EVIL[3:] in written
    assert list(map(json.loads, printed.split("\n")[:-1])) == list(map(json.loads, written.split("\n")[:-1]))


def test_the_report_and_the_card_show_escapes(place: Place) -> None:
    for page in [place.run / "report.html", place.run / "student" / "README.md"]:
        text = page.read_text(encoding="utf-8")
        check_harmless(text)
        assert "u202e" in text.lower()


NOISY = """
import logging, warnings, click
from pet.cli.main import COMMANDS, LazyGroup, main

@click.command()
def noisy():
    logging.getLogger("some.library").error("about %s", "\\x1b[2J\\u202e")
    warnings.warn("\\x1b[2J\\u202e")

LazyGroup.get_command = lambda *_: noisy
main(["noisy"])
"""


def test_log_messages_and_warnings_of_libraries_are_escaped() -> None:
    said = subprocess.run([sys.executable, "-c", NOISY], capture_output=True, encoding="utf-8", check=True).stderr
    check_harmless(said)
    assert said.count(r"\x1b[2J\u202e") == 2


def test_what_a_command_changes_for_its_messages_is_restored() -> None:
    before = logging.getLogRecordFactory(), warnings.formatwarning
    pet("tasks")
    assert (logging.getLogRecordFactory(), warnings.formatwarning) == before


def test_commands_print_with_one_function_only() -> None:
    prints = re.compile(r"\bclick\.s?echo\(|\bprint\(|\bstd(?:out|err)\.write\(")
    found = [path.name for path in sorted(ROOMS.glob("*.py")) if prints.search(path.read_text(encoding="utf-8"))]
    assert found == ["echo.py"]
