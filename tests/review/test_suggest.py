"""`pet suggest`: texts of a finished run to label next."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_run import pet, refused, run_options, write_inputs
from tiny_text import LABELS


@pytest.fixture(scope="module")
def finished(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("suggest")
    pet(*run_options(write_inputs(place / "in"), tiny_model), "-q", "-o", place / "run")
    return place / "run"


def test_a_table_to_fill_in(finished: Path, tmp_path: Path) -> None:
    pet("suggest", finished, "-n", "5", "-q", "-o", tmp_path / "next.csv")
    with (tmp_path / "next.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    pool = {row["id"]: row["text"] for row in map(json.loads, (finished.parent / "in" / "pool.jsonl").open())}
    train = {row["text"]: row["label"] for row in map(json.loads, (finished.parent / "in" / "train.jsonl").open())}
    assert len({row["id"] for row in rows}) == 5
    assert all(pool[row["id"]] == row["text"] and row["label"] == "" and row["proposed"] in LABELS for row in rows)
    assert all(train[row["nearest_text"]] == row["nearest_label"] for row in rows)
    assert all(0.25 <= float(row["probability"]) <= 1 and float(row["doubt"]) >= 0 for row in rows)


def test_suggestions_are_the_same_every_time_and_nothing_in_the_run_changes(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    first, second = (json.loads(pet("suggest", finished, "-n", "4", "-q", "--json").stdout) for _ in range(2))
    assert first == second
    assert all(sum(text["probabilities"].values()) == pytest.approx(1) for text in first["suggestions"])
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_records_of_annotation_tools(finished: Path, tmp_path: Path) -> None:
    pet("suggest", finished, "-n", "2", "-q", "--tool", "label-studio", "-o", tmp_path / "studio.json")
    task = json.loads((tmp_path / "studio.json").read_text())[0]
    (choice,) = task["predictions"][0]["result"]
    assert task["data"]["text"]
    assert choice["type"] == "choices"
    assert choice["value"]["choices"][0] in LABELS
    pet("suggest", finished, "-n", "2", "-q", "--tool", "argilla", "-o", tmp_path / "argilla.json")
    record = json.loads((tmp_path / "argilla.json").read_text())[0]
    assert set(record["fields"]) == {"text"}
    assert record["suggestions"]["label"]["value"] in LABELS


def test_a_run_without_labels_has_suggestions_too(tiny_model: Path, tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path / "in")
    pet(*run_options(inputs, tiny_model, parts=["unlabeled"]), "--method", "zero-shot", "-q", "-o", tmp_path / "run")
    shown = json.loads(pet("suggest", tmp_path / "run", "-n", "3", "-q", "--json").stdout)
    assert len(shown["suggestions"]) == 3
    assert shown["suggestions"][0]["nearest"] is None


def test_scores_outside_of_the_run_are_not_read(finished: Path, tmp_path: Path) -> None:
    run, outside = Path(shutil.copytree(finished, tmp_path / "run")), tmp_path / "outside"
    shutil.copytree(run / "g0" / "p1-r1", outside)
    manifest = (run / "manifest.json").read_text(encoding="utf-8")
    for name in ("../../outside", str(outside)):
        changed = json.loads(manifest)
        changed["stages"]["g0/labels"]["info"]["members"][0] = name
        (run / "manifest.json").write_text(json.dumps(changed), encoding="utf-8")
        message = refused("suggest", run)
        assert str(run / "manifest.json") in message and "members[0]" in message


@pytest.mark.parametrize("shape", [None, (4,), (10**30, 4), (True, 4)])
def test_a_damaged_file_of_scores_is_named(finished: Path, tmp_path: Path, shape: tuple[int, ...] | None) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    path = run / "g0" / "p1-r1" / "pool-logits.npy"
    with path.open("wb") as file:
        if shape is None:
            np.savez(file, scores=np.zeros((16, 4), dtype=np.float32))
        else:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
            file.write(bytes(64))
    assert str(path) in refused("suggest", run)


def test_mistakes_get_one_message(finished: Path, tmp_path: Path) -> None:
    assert "-n 0" in refused("suggest", finished, "-n", "0")
    assert "tasks.json" in refused("suggest", finished, "--tool", "argilla")
    assert "pet run" in refused("suggest", tmp_path)
    pool = finished.parent / "in" / "pool.jsonl"
    kept = tmp_path / "pool.jsonl"
    shutil.copy(pool, kept)
    try:
        pool.write_text(pool.read_text().replace("a", "e"))
        message = refused("suggest", finished)
        assert str(pool) in message
        assert "changed" in message
    finally:
        shutil.copy(kept, pool)
