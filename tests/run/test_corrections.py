"""`pet run --corrections`: reviewed texts become labeled ones and leave the pool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_run import contents, pet, refused, run_options, write_inputs, write_rows
from tiny_text import LABELS

from pet.progress import Reporter
from pet.run.inputs import load_data
from pet.run.load_run import read_settings
from pet.task.task import Task


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("inputs") / "in")


def decision(row: dict[str, Any], verdict: str, label: str | None = None) -> dict[str, Any]:
    return {"id": row["id"], "fields": {"text": row["text"]}, "label": label, "verdict": verdict}


@pytest.fixture(scope="module")
def reviewed(inputs: Path) -> Path:
    """Three labels, one text of none, one that nobody was sure about."""
    pool = [json.loads(line) for line in (inputs / "pool.jsonl").open()]
    rows = [decision(pool[number], "labeled", LABELS[number]) for number in range(3)]
    rows += [decision(pool[3], "none_of_these"), decision(pool[4], "unsure")]
    return write_rows(inputs / "reviewed.jsonl", rows)


@pytest.fixture(scope="module")
def corrected(inputs: Path, reviewed: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("corrected") / "run"
    pet(*run_options(inputs, tiny_model), "--corrections", reviewed, "-q", "-o", place)
    return place


def test_labels_are_added_and_texts_of_no_label_leave_the_pool(inputs: Path, corrected: Path) -> None:
    settings = read_settings(corrected)
    task = Task.from_dict(settings.task)
    data = load_data(settings, task, Reporter("quiet"))
    pool = [json.loads(line) for line in (inputs / "pool.jsonl").open()]
    assert data.train is not None
    assert data.pool is not None
    assert data.train["text"][-3:] == [row["text"] for row in pool[:3]]
    assert [LABELS[label] for label in data.train["label"][-3:]] == list(LABELS[:3])
    assert data.pool["text"][:] == [row["text"] for row in pool[4:]]
    counted = json.loads((corrected / "metrics.json").read_text())["data"]
    assert (counted["train"], counted["pool"]) == (15, 12)


def test_the_corrected_run_repeats_and_notices_a_changed_file(
    inputs: Path, reviewed: Path, corrected: Path, tmp_path: Path, tiny_model: Path
) -> None:
    before = contents(corrected)
    pet(*run_options(inputs, tiny_model), "--corrections", reviewed, "-q", "-o", corrected)
    assert contents(corrected) == before
    kept = reviewed.read_bytes()
    try:
        reviewed.write_bytes(kept.splitlines(keepends=True)[0])
        assert "corrections" in refused(
            *run_options(inputs, tiny_model), "--corrections", reviewed, "-q", "-o", corrected
        )
    finally:
        reviewed.write_bytes(kept)


def test_a_corrected_text_replaces_its_label(inputs: Path, tmp_path: Path) -> None:
    from pet.data.corrections import read_corrections
    from pet.data.read import read_table

    train = [json.loads(line) for line in (inputs / "train.jsonl").open()]
    other = next(label for label in LABELS if label != train[0]["label"])
    file = write_rows(tmp_path / "reviewed.jsonl", [decision(train[0], "labeled", other)])
    task = Task.load(str(inputs / "task.yaml"))
    table = read_table(str(inputs / "train.jsonl"), ["text"], labels=task.labels)
    found = read_corrections(str(file), task).add_to(table, task.fields)
    assert len(found) == len(table)
    assert found["text"][-1] == train[0]["text"]
    assert task.labels[found["label"][-1]] == other


def test_labels_may_come_from_a_review_alone(inputs: Path, reviewed: Path, tiny_model: Path, tmp_path: Path) -> None:
    options = run_options(inputs, tiny_model, parts=["unlabeled", "test"])
    pet(*options, "--corrections", reviewed, "-q", "-o", tmp_path / "run")
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["data"]["train"] == 3


def test_a_file_without_a_label_is_refused(inputs: Path, tiny_model: Path, tmp_path: Path) -> None:
    pool = [json.loads(line) for line in (inputs / "pool.jsonl").open()]
    file = write_rows(tmp_path / "reviewed.jsonl", [decision(pool[0], "unsure")])
    message = refused(*run_options(inputs, tiny_model), "--corrections", file, "-o", tmp_path / "run")
    assert str(file) in message
    assert "pet review" in message
    assert not (tmp_path / "run").exists()
