"""Runs whose members share a frozen model: files, resume, labeling, generations, the estimator."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from families import build_family
from small_run import SOFT_TASK, contents, pet, refused, run_options, write_inputs
from tiny_text import LABELS, news_rows

from pet import PetClassifier
from pet.backbones.info import ModelInfo
from pet.members import pattern
from pet.members.offset import FILE as OFFSET
from pet.tuning.members import LEARNED, read_member
from pet.tuning.methods import METHODS as TUNING_METHODS

METHODS = [name for name, method in TUNING_METHODS.items() if not method.trains_backbone(method.config())]
SMALL = ["--set", "prompt_length=4", "--set", "prefix_length=3", "--set", "prefix_hidden=16"]
SCORES = ["pool-logits.npy", "test-logits.npy"]

every_method = pytest.mark.parametrize("method", METHODS)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_inputs(tmp_path_factory.mktemp("tuning") / "in")
    (folder / "task.yaml").write_text(SOFT_TASK, encoding="utf-8")
    return folder


def options(inputs: Path, model: Path, method: str, folder: Path, *more: str) -> list[str]:
    if method == "lora":
        pytest.importorskip("peft")
    return [*run_options(inputs, model), "--tuning", method, *SMALL, *more, "-o", str(folder)]


@pytest.fixture(scope="module")
def finished(inputs: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """``finished(method)``: the folder of a run, made once."""
    made: dict[str, Path] = {}

    def make(method: str) -> Path:
        if method not in made:
            folder = tmp_path_factory.mktemp("run") / method
            pet(*options(inputs, tiny_model, method, folder))
            made[method] = folder
        return made[method]

    return make


@every_method
def test_members_are_small_and_name_their_backbone(finished: Any, tiny_model: Path, method: str):
    run = finished(method)
    for name in ("p1-r1", "p2-r1"):
        assert sorted(p.name for p in (run / "g0" / name).iterdir()) == [LEARNED, "member.json", OFFSET, *SCORES]
        assert (run / "g0" / name / LEARNED).stat().st_size < 20_000
        assert read_member(run / "g0" / name).backbone == str(tiny_model)
    assert (run / "student" / "model.safetensors").is_file()
    assert "accuracy" in json.loads((run / "metrics.json").read_text())["ensemble"]


@every_method
def test_a_run_that_was_stopped_ends_with_the_same_bytes(
    finished: Any, inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
):
    save, saved = pattern.save_member, []

    def stop_at_the_second(*arguments: Any) -> None:
        saved.append(arguments)
        if len(saved) == 2:
            raise KeyboardInterrupt
        save(*arguments)

    monkeypatch.setattr(pattern, "save_member", stop_at_the_second)
    pet(*options(inputs, tiny_model, method, tmp_path / "run"), expect=130)
    monkeypatch.undo()
    assert (tmp_path / "run" / "g0" / "p1-r1").is_dir()
    assert not (tmp_path / "run" / "g0" / "p2-r1").is_dir()
    pet(*options(inputs, tiny_model, method, tmp_path / "run"))
    found, expected = contents(tmp_path / "run"), contents(finished(method))
    assert sorted(found) == sorted(expected)
    assert [name for name in expected if found[name] != expected[name]] == []


@every_method
def test_label_opens_the_shared_model_once(
    finished: Any, inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
):
    run, opened = finished(method), []
    load = ModelInfo.open

    def noting(info: ModelInfo) -> Any:
        opened.append(info.name)
        return load(info)

    monkeypatch.setattr(ModelInfo, "open", noting)
    pet("label", run, "--input", inputs / "pool.jsonl", "-o", tmp_path / "l.jsonl", "-q", "--device", "cpu")
    assert opened == [str(tiny_model)]
    assert (tmp_path / "l.jsonl").read_bytes() == (run / "g0" / "labels.jsonl").read_bytes()


def test_a_replaced_backbone_is_refused(inputs: Path, tiny_model: Path, tmp_path: Path):
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    pet(*options(inputs, model, "prompt", tmp_path / "run"))
    shutil.rmtree(model)
    build_family("bert", model, seed=1)
    said = refused("label", tmp_path / "run", "--input", inputs / "pool.jsonl", "-o", tmp_path / "l.jsonl")
    assert "p1-r1" in said
    assert "belongs to the model" in said
    assert said.count("hash") == 2


@pytest.mark.parametrize("restart", [True, False])
@pytest.mark.parametrize("method", ["prompt", "lora"])
def test_generations(inputs: Path, tiny_model: Path, tmp_path: Path, method: str, restart: bool):
    more = ["--method", "ipet", "--set", "generations=2", "--set", "growth=1.5", "--set", "accept=always"]
    more += ["--set", f"restart={restart}"]
    pet(*options(inputs, tiny_model, method, tmp_path / "run", *more))
    for generation in ("g0", "g1"):
        assert (tmp_path / "run" / generation / "p2-r1" / LEARNED).stat().st_size < 20_000
    pet(
        "label", tmp_path / "run", "--input", inputs / "pool.jsonl", "-o", tmp_path / "l.jsonl", "-q", "--device", "cpu"
    )
    assert (tmp_path / "l.jsonl").read_bytes() == (tmp_path / "run" / "g1" / "labels.jsonl").read_bytes()


@pytest.mark.parametrize("restart", [True, False])
def test_p_tuning_of_the_whole_model(inputs: Path, tiny_model: Path, tmp_path: Path, restart: bool):
    more = ["--method", "ipet", "--set", "generations=2", "--set", "growth=1.5", "--set", "accept=always"]
    more += ["--set", f"restart={restart}"]
    pet(*options(inputs, tiny_model, "p-tuning", tmp_path / "run", "--set", "tune_backbone=true", *more))
    assert {LEARNED, "model.safetensors"} <= {p.name for p in (tmp_path / "run" / "g1" / "p1-r1").iterdir()}
    pet(
        "label", tmp_path / "run", "--input", inputs / "pool.jsonl", "-o", tmp_path / "l.jsonl", "-q", "--device", "cpu"
    )
    assert (tmp_path / "l.jsonl").read_bytes() == (tmp_path / "run" / "g1" / "labels.jsonl").read_bytes()


def test_a_run_warns_if_soft_tokens_are_not_trained(inputs: Path, tiny_model: Path, tmp_path: Path):
    result = pet(*run_options(inputs, tiny_model), "--set", "steps=0", "-o", tmp_path / "run")
    assert "{soft:" in result.stderr
    assert "--tuning p-tuning" in result.stderr


def test_mistakes_are_refused_before_anything_is_made(inputs: Path, tiny_model: Path, tmp_path: Path):
    hard = tmp_path / "in"
    write_inputs(hard)
    said = refused(*options(hard, tiny_model, "p-tuning", tmp_path / "run"))
    assert "task.yaml:6" in said
    assert "{soft:3}" in said
    said = refused(*options(inputs, tiny_model, "prompt", tmp_path / "run", "--set", "prompt_length=60"))
    assert "leaves no room" in said
    said = refused(*run_options(inputs, tiny_model), "--set", "freeze_layers=2", "-o", tmp_path / "run")
    assert "freeze_layers is 2" in said
    assert "has 2 layers" in said
    said = refused(*run_options(inputs, tiny_model), "--tuning", "ia3", "-o", tmp_path / "run")
    assert "ia3" in said and "full, lora" in said
    assert not (tmp_path / "run").exists()


@every_method
def test_the_estimator_keeps_its_members_in_memory(tiny_model: Path, method: str):
    if method == "lora":
        pytest.importorskip("peft")
    rows = news_rows()
    texts, topics = [row["text"] for row in rows], [row["label"] for row in rows]
    settings = {
        "tuning": method,
        "steps": 2,
        "max_length": 64,
        "prompt_length": 4,
        "prefix_length": 3,
        "prefix_hidden": 8,
    }
    classifier = PetClassifier(
        patterns=["{mask} {soft:news}: {text}", "{text} {soft:2} {mask}."],
        verbalizer={label: label.lower() for label in LABELS},
        model=str(tiny_model), settings=settings, device="cpu", precision="fp32",
    )  # fmt: skip
    classifier.fit(texts[:12], topics[:12])
    assert classifier.ensemble_ is not None
    first = classifier.predict_proba(texts[20:])
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.predict_proba(texts[20:]), first)


def test_check_times_tuned_members_and_reports_what_a_run_would_refuse(inputs: Path, tiny_model: Path, tmp_path: Path):
    data = ["--train", inputs / "train.jsonl", "--model", tiny_model, "--max-length", "64", "--device", "cpu"]
    found = json.loads(pet("check", inputs / "task.yaml", *data, "--set", "tuning=prefix", "--json").stdout)
    assert found["seconds"]["members"] > 0
    write_inputs(tmp_path)
    result = pet("check", tmp_path / "task.yaml", *data, "--set", "tuning=p-tuning", "--json", expect=2)
    assert "{soft:3}" in result.stdout + result.stderr
    too_long = ["--set", "tuning=prompt", "--set", "prompt_length=60"]
    result = pet("check", inputs / "task.yaml", *data, *too_long, "--json", expect=2)
    assert "leaves no room" in result.stdout + result.stderr
