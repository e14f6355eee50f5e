"""Runs whose ensembles have members that are not patterns: a classifier head, and scores from a file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_run import TASK, contents, pet, refused, run_options, same_files, write_inputs, write_rows
from tiny_text import LABELS, news_rows

from pet.run import stages

pytestmark = pytest.mark.usefixtures("one_thread")
NAMES = ["p1-r1", "p2-r1", "head", "teacher"]
LACKING = "s-nobody"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run's inputs, and votes.csv, which lacks the first text of the pool and is wrong about one of train."""
    folder = write_inputs(tmp_path_factory.mktemp("kinds") / "in")
    rows = news_rows()
    lacking = rows[12]["id"]
    lines = [f"{row['id']},{row['label']}\n" for row in rows if row["id"] != lacking]
    lines[0] = f"{rows[0]['id']},{next(label for label in LABELS if label != rows[0]['label'])}\n"
    (folder / "votes.csv").write_text("id,label\n" + "".join(lines))
    for name in ("train", "test"):
        part = rows[:12] if name == "train" else rows[28:]
        write_rows(folder / f"{name}.jsonl", part)
    return folder


def options(inputs: Path, model: Path) -> list[str]:
    return [*run_options(inputs, model), "--member", "head", "--member", f"teacher=external:{inputs / 'votes.csv'}"]


@pytest.fixture(scope="module")
def finished(inputs: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("finished") / "run"
    pet(*options(inputs, tiny_model), "-o", run)
    return run


def test_all_members_are_weighted_merged_and_evaluated(finished: Path) -> None:
    info = json.loads((finished / "manifest.json").read_text())["stages"]["g0/labels"]["info"]
    assert info["members"] == NAMES
    assert info["scales"] == ["logits", "logits", "logits", "log-probabilities"]
    assert list(json.loads((finished / "metrics.json").read_text())["members"]) == NAMES
    # The teacher is right about 11 of 12 training texts; a head has no accuracy before training and gets the mean.
    first, second = json.loads((finished / "g0" / "untrained.json").read_text())["accuracy"]
    known = [first, second, 11 / 12]
    expected = np.array([first, second, sum(known) / 3, 11 / 12])
    np.testing.assert_allclose(info["weights"], expected / expected.sum())


def test_an_external_member_abstains_on_texts_that_its_file_lacks(finished: Path) -> None:
    table = pq.read_table(finished / "g0" / "labels.parquet")
    votes = table["votes"].to_pylist()
    assert votes[0][3] is None and None not in votes[0][:3] and all(None not in row for row in votes[1:])
    first = json.loads((finished / "g0" / "labels.jsonl").read_text().splitlines()[0])
    assert first["votes"]["teacher"] is None
    agreement = sum(vote == first["label"] for vote in votes[0]) / 3
    assert first["agreement"] == pytest.approx(agreement)


def test_the_student_learns_from_all_kinds_of_members(finished: Path) -> None:
    assert (finished / "student" / "model.safetensors").is_file()
    assert "accuracy" in json.loads((finished / "metrics.json").read_text())["student"]


def test_pet_label_uses_all_members_and_does_not_need_the_external_file(
    finished: Path, inputs: Path, tmp_path: Path
) -> None:
    moved = inputs / "moved.csv"
    (inputs / "votes.csv").rename(moved)
    try:
        pet("label", finished, "--input", inputs / "pool.jsonl", "-o", tmp_path / "l.jsonl", "-q", "--device", "cpu")
    finally:
        moved.rename(inputs / "votes.csv")
    assert (tmp_path / "l.jsonl").read_bytes() == (finished / "g0" / "labels.jsonl").read_bytes()
    write_rows(tmp_path / "new.jsonl", [{"id": LACKING, "text": "Stocks fell."}])
    pet("label", finished, "--input", tmp_path / "new.jsonl", "-o", tmp_path / "new-l.jsonl", "-q", "--device", "cpu")
    row = json.loads((tmp_path / "new-l.jsonl").read_text())
    assert row["votes"]["teacher"] is None and row["votes"]["head"] in LABELS


@pytest.mark.parametrize("stop", ["head", "teacher"])
def test_an_interrupted_run_resumes_to_the_same_bytes(
    finished: Path, inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: str
) -> None:
    fit = stages.fit_scorer

    def stop_there(spec: Any, *arguments: Any) -> Any:
        if spec.name == stop:
            raise KeyboardInterrupt
        return fit(spec, *arguments)

    monkeypatch.setattr(stages, "fit_scorer", stop_there)
    pet(*options(inputs, tiny_model), "-o", tmp_path / "run", expect=130)
    monkeypatch.undo()
    assert (tmp_path / "run" / "g0" / "p2-r1").is_dir() and not (tmp_path / "run" / "g0" / stop).is_dir()
    pet(*options(inputs, tiny_model), "-o", tmp_path / "run")
    same_files(tmp_path / "run", finished)


def test_workers_write_the_same_bytes(finished: Path, inputs: Path, tiny_model: Path, tmp_path: Path) -> None:
    pet(*options(inputs, tiny_model), "--workers", "2", "--worker-cpus", "1", "-o", tmp_path / "two")
    same_files(tmp_path / "two", finished)


def test_generations_choose_texts_only_for_members_that_are_trained(
    inputs: Path, tiny_model: Path, tmp_path: Path
) -> None:
    more = [
        "--method",
        "ipet",
        "--set",
        "generations=2",
        "--set",
        "growth=1.5",
        "--set",
        "accept=always",
        "--baselines",
    ]
    pet(*options(inputs, tiny_model), *more, "-o", tmp_path / "run")
    stage = json.loads((tmp_path / "run" / "manifest.json").read_text())["stages"]
    chosen = stage["g1/examples"]["info"]["members"]
    assert list(chosen) == ["p1-r1", "p2-r1", "head"]  # a file from outside learns nothing
    assert all(member not in about["voters"] for member, about in chosen.items())
    assert stage["g1/labels"]["info"]["members"] == NAMES
    learned = json.loads((tmp_path / "run" / "g1" / "head" / "member.json").read_text())["labeled"]
    assert learned == 12 + sum(chosen["head"]["chosen"])
    pet("label", tmp_path / "run", "--input", inputs / "pool.jsonl", "-o", tmp_path / "l.jsonl", "-q")


def test_an_external_member_is_in_the_first_generation_without_labels(
    inputs: Path, tiny_model: Path, tmp_path: Path
) -> None:
    files = run_options(inputs, tiny_model, parts=["unlabeled", "test"])
    more = ["--method", "ipet", "--set", "generations=1", "--set", "first_set=4", "--member", "head"]
    pet(*files, *more, "--member", f"external:{inputs / 'votes.csv'}", "-o", tmp_path / "run")
    stage = json.loads((tmp_path / "run" / "manifest.json").read_text())["stages"]
    assert stage["g0/labels"]["info"]["members"] == ["p1-r1", "p2-r1", "votes"]
    assert stage["g1/labels"]["info"]["members"] == ["p1-r1", "p2-r1", "head", "votes"]


def test_paths_of_members_in_a_task_file_are_relative_to_it(
    finished: Path, inputs: Path, tiny_model: Path, tmp_path: Path
) -> None:
    task = tmp_path / "elsewhere" / "task.yaml"
    task.parent.mkdir()
    shutil.copy(inputs / "votes.csv", task.parent / "votes.csv")
    task.write_text(TASK + "members:\n  - head\n  - {external: votes.csv, name: teacher}\n", encoding="utf-8")
    plain = [str(task) if text.endswith("task.yaml") else text for text in run_options(inputs, tiny_model)]
    pet(*plain, "-o", tmp_path / "run")
    table, other = (pq.read_table(run / "g0" / "labels.parquet") for run in (tmp_path / "run", finished))
    assert table["probabilities"].equals(other["probabilities"])
    pet("run", tmp_path / "run" / "config.yaml", "-o", tmp_path / "again")  # the config names the file absolutely
    assert contents(tmp_path / "again")["g0/labels.parquet"] == contents(tmp_path / "run")["g0/labels.parquet"]


def test_a_run_does_not_resume_with_a_changed_external_file(
    finished: Path, inputs: Path, tiny_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    before = (inputs / "votes.csv").read_text()
    try:
        (inputs / "votes.csv").write_text(before + "more,World\n")
        said = refused(*options(inputs, tiny_model), "-o", tmp_path / "run")
    finally:
        (inputs / "votes.csv").write_text(before)
    assert "hashes.members.teacher" in said


def test_pet_label_refuses_an_id_that_stood_for_another_text_in_the_run(finished: Path, tmp_path: Path) -> None:
    taken = news_rows()[0]["id"]
    write_rows(tmp_path / "new.jsonl", [{"id": taken, "text": "Something else."}])
    said = refused("label", finished, "--input", tmp_path / "new.jsonl", "-o", tmp_path / "l.jsonl", "-q")
    assert "teacher" in said and repr(taken) in said
    assert not (tmp_path / "l.jsonl").exists()


def test_an_id_that_stands_for_two_texts_is_refused_before_training(
    inputs: Path, tiny_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(inputs, tmp_path / "in")
    rows = [json.loads(line) for line in (inputs / "pool.jsonl").read_text().splitlines()]
    write_rows(tmp_path / "in" / "pool.jsonl", [{**rows[0], "id": news_rows()[0]["id"]}, *rows[1:]])
    said = refused(*options(tmp_path / "in", tiny_model), "-o", tmp_path / "run")
    assert all(part in said for part in ("train", "unlabeled", "id", repr(news_rows()[0]["id"])))
    assert not (tmp_path / "run").exists()


def test_the_file_of_a_member_is_checked_before_training(inputs: Path, tiny_model: Path, tmp_path: Path) -> None:
    votes = tmp_path / "votes.csv"
    run = [*run_options(inputs, tiny_model), "--member", f"external:{votes}", "-o", tmp_path / "run"]
    votes.write_text("id,label\na,Wrld\n")
    assert "Wrld" in refused(*run)
    votes.write_text("id,label\nnobody,World\n")
    said = refused(*run, "--method", "pcp", "--tuning", "bitfit")  # refused for another reason
    assert "votes: has scores for 0 of 12 texts of train" in said and "0 of 16 texts of unlabeled" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--member", "hed"], ("hed", "head")),
        (["--member", "external:nowhere.csv"], ("nowhere.csv",)),
        (["--member", "head", "--member", "head"], ("head", "NAME=")),
        (["--member", "head", "--method", "zero-shot"], ("head", "zero-shot")),
        (["--member", "head", "--method", "supervised"], ("--member", "supervised")),
    ],
)
def test_invalid_members_are_refused_before_anything_is_written(
    inputs: Path, tiny_model: Path, tmp_path: Path, more: list[str], named: tuple[str, ...]
) -> None:
    said = refused(*run_options(inputs, tiny_model), *more, "-o", tmp_path / "run")
    assert all(part in said for part in named), said
    assert not (tmp_path / "run").exists()


def test_pet_label_refuses_models_that_have_changed_since_the_run(
    inputs: Path, tiny_model: Path, tmp_path: Path
) -> None:
    own, other = (Path(shutil.copytree(tiny_model, tmp_path / name)) for name in ("own", "other"))
    members = ("--member", "embeddings", "--member", f"second=embeddings:{other}")
    pet(*run_options(inputs, own), *members, "-q", "-o", tmp_path / "run")
    for folder, reader in ((own, "embeddings"), (other, "second")):
        config = folder / "config.json"
        before = config.read_text()
        config.write_text(json.dumps(json.loads(before) | {"layer_norm_eps": 0.1}))
        said = refused("label", tmp_path / "run", "--input", inputs / "pool.jsonl", "-o", tmp_path / "l.jsonl", "-q")
        config.write_text(before)
        assert str(folder) in said and f"({reader})" in said and "restore" in said
