"""Damaged or untrusted runs: files are named, rebuilt or refused; nothing outside changes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_run import contents, pet, refused, run_options, write_inputs, write_rows

from pet.errors import PetError
from pet.inference.label_shards import label_on_ray
from pet.prompts.library import find_prompt, list_prompts
from pet.run.execution.options import Execution
from pet.store import recorded
from pet.store.folders import remove

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="links need privileges on Windows")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("received") / "in")


@pytest.fixture(scope="module")
def whole(inputs: Path, tiny_model: Path) -> Path:
    """A finished run; it is never changed."""
    pet(*run_options(inputs, tiny_model), "-q", "-o", inputs.parent / "whole")
    return inputs.parent / "whole"


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the run that a test may change."""
    recorded._known.clear()
    yield shutil.copytree(whole, tmp_path / "run")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def commands(run: Path, inputs: Path, model: Path, out: Path) -> dict[str, list[object]]:
    labels = ["distill", "--labels", run / "g0" / "labels.parquet", "--input", inputs / "pool.jsonl"]
    return {
        "resume": [*run_options(inputs, model), "-q", "-o", run],
        "label": ["label", run, "--input", inputs / "pool.jsonl", "-o", out / "labels.jsonl"],
        "predict": ["predict", run, "--input", inputs / "pool.jsonl", "-o", out / "predictions.jsonl"],
        "evaluate": ["evaluate", run / "student", "--input", inputs / "test.jsonl"],
        "distill": [*labels, "--model", model, "-o", out / "small"],
    }


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("label", "g0/p2-r1/model.safetensors"),
        ("label", "g0/p1-r1/member.json"),
        ("predict", "student/model.safetensors"),
        ("evaluate", "student/tokenizer.json"),
        ("distill", "g0/labels.parquet"),
    ],
)
def test_a_damaged_file_of_a_run_is_named(
    run: Path, inputs: Path, tiny_model: Path, tmp_path: Path, command: str, file: str
):
    flip(run / file)
    out = tmp_path / "out"
    out.mkdir()
    message = refused(*commands(run, inputs, tiny_model, out)[command])
    assert str(run / file) in message and "config.yaml" in message
    assert list(out.iterdir()) == []


def test_a_pretrained_model_that_has_changed_since_the_run_is_named(inputs: Path, tiny_model: Path, tmp_path: Path):
    model, run = Path(shutil.copytree(tiny_model, tmp_path / "model")), tmp_path / "run"
    pet(*run_options(inputs, model, parts=["unlabeled"]), "--method", "zero-shot", "-q", "-o", run)
    label = ["label", run, "--input", inputs / "pool.jsonl", "-q", "-o", tmp_path / "labels.jsonl"]
    pet(*label)
    flip(model / "model.safetensors")
    message = refused(*label, "--force")
    assert str(model) in message and str(run / "config.yaml") in message


def test_edited_labels_of_a_run_are_used_with_a_warning(run: Path, inputs: Path, tiny_model: Path, tmp_path: Path):
    labels = run / "g0" / "labels.jsonl"
    rows = [json.loads(line) for line in labels.read_text(encoding="utf-8").splitlines()]
    edited = [{key: value for key, value in row.items() if key != "votes"} for row in rows]
    labels.write_text("".join(json.dumps(row) + "\n" for row in edited), encoding="utf-8")
    arguments = commands(run, inputs, tiny_model, tmp_path)["distill"]
    arguments[arguments.index("--labels") + 1] = labels
    result = pet(*arguments, "--set", "student_steps=1", "--max-length", "64", "--device", "cpu")
    assert str(labels) in result.stderr and "warning" in result.stderr


def test_a_resumed_run_builds_damaged_stages_again(run: Path, whole: Path, inputs: Path, tiny_model: Path):
    for file in ("g0/p1-r1/model.safetensors", "g0/p2-r1/pool-logits.npy", "g0/labels.parquet", "student/config.json"):
        flip(run / file)
    result = pet(*commands(run, inputs, tiny_model, run)["resume"])
    assert contents(run) == contents(whole)
    for stage in ("g0/p1-r1", "g0/p2-r1/scores", "g0/labels", "student"):
        assert f"{stage}: " in result.stderr


def test_a_link_out_of_a_run_is_refused_by_every_command(run: Path, inputs: Path, tiny_model: Path, tmp_path: Path):
    victim, out = tmp_path / "victim", tmp_path / "out"
    victim.mkdir()
    out.mkdir()
    (victim / "precious").write_text("precious")
    shutil.move(run / "g0", victim / "g0")
    (run / "g0").symlink_to(victim / "g0")
    (run / "metrics.json").unlink()
    (run / "metrics.json").symlink_to(victim / "precious")
    before = contents(victim)
    for name, arguments in commands(run, inputs, tiny_model, out).items():
        if name == "distill":  # a path that the user has named
            continue
        message = refused(*arguments)
        assert str(run / "g0") in message and str(run / "metrics.json") in message, name
    assert contents(victim) == before and list(out.iterdir()) == []


def test_links_out_of_a_folder_of_seeds_are_refused(run: Path, inputs: Path, tiny_model: Path, tmp_path: Path):
    (tmp_path / "precious").write_text("precious")
    seeds = tmp_path / "seeds"
    seeds.mkdir()
    (seeds / "metrics.json").symlink_to(tmp_path / "precious")
    (seeds / "seed-1").symlink_to(run)
    before = contents(run)
    message = refused(*run_options(inputs, tiny_model), "--seeds", "2", "-q", "-o", seeds)
    assert "metrics.json" in message and "seed-1" in message
    assert contents(run) == before and (tmp_path / "precious").read_text() == "precious"


def test_a_run_behind_a_link_can_be_used(run: Path, inputs: Path, tiny_model: Path, tmp_path: Path):
    (tmp_path / "link").symlink_to(run)
    for arguments in commands(tmp_path / "link", inputs, tiny_model, tmp_path).values():
        if arguments[0] in ("label", "predict", "evaluate"):
            pet(*arguments)


@pytest.mark.parametrize("open_library", [list_prompts, lambda library: find_prompt("best", library)])
def test_a_prompt_library_does_not_lead_out(tmp_path: Path, open_library: Callable[[Path], object]):
    library = tmp_path / "library"
    (library / "best").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "prompt.json").write_text("{}")
    (library / "other").symlink_to(tmp_path / "outside")
    (library / "best" / "prompt.json").symlink_to(tmp_path / "outside" / "prompt.json")
    with pytest.raises(PetError, match=r"best/prompt\.json: .*link.*prompt library"):
        open_library(library)
    remove(library / "best" / "prompt.json")
    os.mkfifo(library / "best" / "learned.safetensors")
    with pytest.raises(PetError, match=r"learned\.safetensors: .*pipe"):
        open_library(library)


def test_a_planted_folder_of_shards_is_neither_emptied_nor_followed(
    run: Path, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pet.inference.label_shards.Cluster", lambda address: None)  # refused before it is used
    victim, planted = tmp_path / "victim", tmp_path / ".tmp-many"
    victim.mkdir()
    (victim / "precious").write_text("precious")
    planted.symlink_to(victim)
    arguments = (run, str(inputs / "pool.jsonl"), tmp_path / "many", Execution(executor="ray"))
    with pytest.raises(PetError, match=r"\.tmp-many: is a link"):
        label_on_ray(*arguments)
    planted.unlink()
    shutil.copytree(victim, planted)
    with pytest.raises(PetError, match=r"\.tmp-many: .*precious"):
        label_on_ray(*arguments)
    assert (planted / "precious").read_text() == (victim / "precious").read_text() == "precious"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["label", "predict", "distill"])
def test_what_a_killed_command_left_is_removed_by_the_next(
    run: Path, inputs: Path, tiny_model: Path, tmp_path: Path, command: str
):
    out = tmp_path / "out"
    out.mkdir()
    arguments = commands(run, inputs, tiny_model, out)[command]
    if command == "distill":
        arguments += ["--set", "student_steps=1000000", "--max-length", "64", "--device", "cpu"]
    else:
        many = write_rows(tmp_path / "many.jsonl", [{"text": f"text number {i}"} for i in range(200_000)])
        arguments[arguments.index("--input") + 1] = many
    process = subprocess.Popen([sys.executable, "-m", "pet", *map(str, arguments)], cwd=ROOT)
    while not (left := list(out.iterdir())):
        assert process.poll() is None
        time.sleep(0.2)
    pet(*commands(run, inputs, tiny_model, out)["predict"])
    assert all(path.exists() for path in left)  # in use by a living process
    process.kill()
    process.wait()
    assert all(path.exists() for path in left)
    pet(*commands(run, inputs, tiny_model, out)["label"])
    assert sorted(path.name for path in out.iterdir()) == ["labels.jsonl", "predictions.jsonl"]
