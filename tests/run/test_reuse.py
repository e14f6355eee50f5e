"""`pet run --from`: members of an earlier run after a label or a pattern was added."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_run import TASK, contents, pet, refused, run_options, write_inputs, write_rows
from tiny_text import LABELS

from pet.members.offset import read_offset

pytestmark = pytest.mark.usefixtures("one_thread")
MODEL = "g0/p1-r1/model.safetensors"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("inputs") / "in")


def run(inputs: Path, model: Path, task: str, output: Path, *options: Any) -> str:
    (inputs / "task.yaml").write_text(task)
    arguments = run_options(inputs, model, parts=["train", "unlabeled"])
    return pet(*arguments, "--set", "student_steps=1", *options, "-o", output).stderr


@pytest.fixture(scope="module")
def earlier(inputs: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earlier") / "run"
    run(inputs, tiny_model, TASK, folder)
    return folder


def added(task: str, *, label: bool = True) -> str:
    """Return the task with a label and a pattern more."""
    if label:
        task = task.replace("labels: [", "labels: [Food, ").replace("verbalizer: {", "verbalizer: {Food: good, ")
    return task + '  - "News of {mask}: {text}"\n'


def test_a_new_label_keeps_the_models_and_a_new_pattern_is_trained(
    inputs: Path, tiny_model: Path, earlier: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "earlier"
    shutil.copytree(earlier, copy)
    said = run(inputs, tiny_model, added(TASK), tmp_path / "new", "--from", copy)
    assert "keeps the models of p1-r1, p2-r1" in said and "trains p3-r1: the earlier run has no such member" in said
    new = tmp_path / "new"
    assert (new / MODEL).read_bytes() == (earlier / MODEL).read_bytes()
    old_scores, scores = (np.load(folder / "g0" / "p1-r1" / "pool-logits.npy") for folder in (earlier, new))
    np.testing.assert_allclose(scores[:, 1:], old_scores, atol=1e-5)
    assert json.loads((new / "g0" / "p1-r1" / "member.json").read_text())["verbalizer"]["Food"] == ["good"]
    offsets = [read_offset(folder / "g0" / "p1-r1", labels) for folder, labels in ((earlier, 4), (new, 5))]
    np.testing.assert_array_equal(offsets[1], [0, *offsets[0]])
    shutil.rmtree(copy)  # the new run stands alone
    before = contents(new)
    pet("run", new / "config.yaml", "-q")
    pet("run", new / "config.yaml", "-q", "-o", new / ".." / "new")  # another spelling of its own folder
    assert contents(new) == before
    pet("run", new / "config.yaml", "--set", "student_steps=2", "-q", "-o", tmp_path / "again")
    assert (tmp_path / "again" / "metrics.json").is_file()


@pytest.mark.parametrize(
    ("options", "change", "reason"),
    [
        (["--examples", "8"], ("", ""), "the labeled texts changed"),
        ([], ("{text} It is {mask}.", "{text} That is {mask}."), "trains p2-r1: the pattern at this place changed"),
    ],
)
def test_what_changed_is_trained_and_the_reason_is_said(
    inputs: Path,
    tiny_model: Path,
    earlier: Path,
    tmp_path: Path,
    options: list[str],
    change: tuple[str, str],
    reason: str,
) -> None:
    said = run(
        inputs, tiny_model, TASK.replace(*change) if change[0] else TASK, tmp_path / "new", "--from", earlier, *options
    )
    assert reason in said


def test_a_member_with_a_missing_file_is_trained_anew(
    inputs: Path, tiny_model: Path, earlier: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "earlier"
    shutil.copytree(earlier, copy)
    (copy / MODEL).unlink()
    shutil.rmtree(copy / "g0" / "p2-r1")
    said = run(inputs, tiny_model, TASK, tmp_path / "new", "--from", copy)
    assert "trains p1-r1, p2-r1: " in said and "missing" in said
    assert (tmp_path / "new" / MODEL).read_bytes() == (earlier / MODEL).read_bytes()


@pytest.mark.parametrize(
    ("name", "reason"), [("train", "the labeled texts changed"), ("pool", "the unlabeled texts changed")]
)
def test_members_are_trained_anew_after_a_file_was_edited_in_place(
    name: str, reason: str, tiny_model: Path, tmp_path: Path
) -> None:
    inputs = write_inputs(tmp_path / "in")
    reuse = ["--from", tmp_path / "old"]
    run(inputs, tiny_model, TASK, tmp_path / "old")
    assert "keeps the models of p1-r1, p2-r1" in run(inputs, tiny_model, TASK, tmp_path / "same", *reuse)
    file = inputs / f"{name}.jsonl"
    first, second, *others = (json.loads(line) for line in file.open(encoding="utf-8"))
    write_rows(file, [{**first, **{key: second[key] for key in second if key != "id"}}, second, *others])
    said = run(inputs, tiny_model, TASK, tmp_path / "new", *reuse)
    assert "keeps" not in said and f"trains p1-r1, p2-r1: {reason}" in said


def test_members_are_kept_while_the_review_behind_them_goes_on(inputs: Path, tiny_model: Path, tmp_path: Path) -> None:
    pool = [json.loads(line) for line in (inputs / "pool.jsonl").open(encoding="utf-8")]
    rows = [
        {"id": row["id"], "fields": {"text": row["text"]}, "label": label, "verdict": "labeled"}
        for row, label in zip(pool, LABELS, strict=False)
    ]
    reviewed = write_rows(tmp_path / "reviewed.jsonl", rows[:2])
    run(inputs, tiny_model, TASK, tmp_path / "old", "--corrections", reviewed)
    write_rows(reviewed, rows[:3])
    new = pet("run", tmp_path / "old" / "config.yaml", "--from", tmp_path / "old", "-o", tmp_path / "new").stderr
    assert "keeps the models of p1-r1, p2-r1" in new
    said = run(inputs, tiny_model, TASK, tmp_path / "more", "--corrections", reviewed, "--from", tmp_path / "old")
    assert "trains p1-r1, p2-r1: the labeled texts changed" in said


def test_a_folder_that_is_no_run_and_a_method_without_members_are_refused(
    inputs: Path, tiny_model: Path, earlier: Path, tmp_path: Path
) -> None:
    (inputs / "task.yaml").write_text(TASK)
    arguments = run_options(inputs, tiny_model)
    assert "nothing" in refused(*arguments, "--from", tmp_path / "nothing", "-o", tmp_path / "new")
    message = refused(*arguments, "--from", earlier, "--method", "zero-shot", "-o", tmp_path / "new")
    assert "--from" in message and "zero-shot" in message
