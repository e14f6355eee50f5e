"""``--help``, suggestions for misspelled names, and mistakes that are found before torch is imported."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from pet.cli.help import MANY
from pet.cli.main import COMMANDS, main
from pet.extras import TRACKERS, is_installed
from pet.preflight import doctor


def commands() -> dict[str, click.Command]:
    found = {name: main.get_command(click.Context(main), name) for name in COMMANDS}
    return {name: command for name, command in found.items() if command is not None}


@pytest.mark.parametrize(
    ("typed", "meant"), [(["lable", "x"], "label"), (["prompts", "lsit"], "list"), (["predcit"], "predict")]
)
def test_a_misspelled_command_is_answered_with_a_similar_one(typed: list[str], meant: str) -> None:
    result = CliRunner().invoke(main, typed)
    assert result.exit_code == 2
    assert f"did you mean '{meant}'?" in result.output


def test_an_unknown_command_is_answered_with_all_commands() -> None:
    output = CliRunner().invoke(main, ["xyzzy"]).output
    assert all(name in output for name in COMMANDS)


def test_a_long_help_has_sections_and_begins_with_what_matters() -> None:
    output = CliRunner().invoke(main, ["run", "--help"]).output
    titles = ["Options:", "More options:", "Reading and writing tables:", "Training:", "Where to compute:", "Output:"]
    assert [line for line in output.splitlines() if line in titles] == titles
    first = output[output.index("Options:") : output.index("More options:")]
    options = [line.split()[0] for line in first.splitlines() if line.startswith("  -")]
    assert options[:3] == ["--train", "--unlabeled", "--test"]
    assert len(options) == 10


def test_help_shows_every_option_once() -> None:
    for name, command in commands().items():
        if isinstance(command, click.Group):
            continue
        output = CliRunner().invoke(main, [name, "--help"]).output.partition("\nOptions:")[2]
        shown = [line.split()[0].strip(",") for line in output.splitlines() if line.startswith("  -")]
        declared = [p.opts[0] for p in command.params if isinstance(p, click.Option) and not p.hidden]
        assert sorted(shown) == sorted([*declared, "-h"]), name
        assert (output.count("\nOutput:") == 1) == (len(shown) > MANY)


@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_every_command_has_the_options_of_scripts(option: str) -> None:
    for command in commands().values():
        inner = command.commands.values() if isinstance(command, click.Group) else [command]
        assert all(option in {o for p in c.params for o in p.opts} for c in inner), command.name


# Command, what its message names.
MISTAKES = [
    (["run", "agnewz", "-o", "r"], "agnews"),
    (["run", "sst2", "--train", "none.jsonl", "-o", "r"], "train: none.jsonl"),
    (["run", "sst2", "--train", "rows.jsonl", "-o", "r"], "rows.jsonl:1: label is missing"),
    (["run", "sst2", "--method", "zero-shot", "--test", "r", "-m", "./none", "-o", "r"], "model ./none"),
    (["check", "sst2", "--set", "steps=x"], "steps"),
    (["label", "none", "--input", "rows.jsonl", "-o", "labels.csv"], "none: no such folder"),
    (["predict", "./none", "--input", "rows.jsonl", "-o", "-"], "model ./none"),
    (["predict", "bert", "--input", "rows.jsonl", "-o", "p.csv", "--column", "text=body"], "body"),
    (["evaluate", "bert", "--input", "none.csv"], "none.csv"),
    (["distill", "--labels", "none.csv", "--input", "rows.jsonl", "-o", "s"], "none.csv"),
]
WITHOUT_TORCH = """
import json, sys
sys.modules.update({name: None for name in ("torch", "transformers", "datasets", "pandas")})
from pet.cli.main import main
for arguments in json.loads(sys.argv[1]):
    try:
        main.main(arguments)
    except SystemExit as end:
        print(f"status {end.code}", file=sys.stderr)
"""


@pytest.fixture(scope="module")
def said_without_torch(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a process without torch says to each of `MISTAKES`; nothing is written."""
    rows = tmp_path_factory.mktemp("rows")
    (rows / "rows.jsonl").write_text('{"text": "one"}\n')
    command = [sys.executable, "-c", WITHOUT_TORCH, json.dumps([arguments for arguments, _ in MISTAKES])]
    done = subprocess.run(command, cwd=rows, capture_output=True, text=True, check=True)
    assert [path.name for path in rows.iterdir()] == ["rows.jsonl"] and done.stdout == ""
    return done.stderr.split("status 2\n")


@pytest.mark.parametrize("number", range(len(MISTAKES)), ids=["-".join(given[:4]) for given, _ in MISTAKES])
def test_mistakes_are_found_without_torch(number: int, said_without_torch: list[str]) -> None:
    assert len(said_without_torch) == len(MISTAKES) + 1 and said_without_torch[-1] == ""
    assert MISTAKES[number][1] in said_without_torch[number]
    assert "Traceback" not in said_without_torch[number]


def test_doctor_names_what_a_feature_lacks_and_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["click>=8.2", 'no-such-thing[all]>=1; extra == "lora"', 'click>=8; extra == "ray"', 'x; extra == "test"']
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: wanted)
    result = CliRunner().invoke(main, ["doctor", "--json"])
    assert result.exit_code == 0
    found = json.loads(result.output)
    assert found["features"]["lora"]["missing"] == ["no-such-thing"]
    assert found["features"]["lora"]["install"].startswith("pip install ")
    assert found["features"]["ray"]["install"] is None
    assert set(found["features"]) == {"lora", "ray", *TRACKERS}
    assert {name for name in TRACKERS if found["features"][name]["missing"]} == {
        name for name in TRACKERS if not is_installed(name)
    }
    assert found["versions"]["torch"]
    text = CliRunner().invoke(main, ["doctor"]).output
    assert found["features"]["lora"]["install"] in text
    assert found["devices"]["precision"] in text


def test_a_cache_folder_without_access_does_not_stop_the_doctor(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HOME", "x" * 5000)  # too long for a file system
    result = CliRunner().invoke(main, ["doctor", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["folders"]["places"]["models"]["free"] is None
