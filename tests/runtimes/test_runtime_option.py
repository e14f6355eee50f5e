"""``--runtime`` of `pet label` and `pet predict`: the same results by another engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_run import pet, refused, run_options, write_inputs
from tiny_text import LABELS

from pet.extras import is_installed
from pet.inference import runtime
from pet.student.classifier import TextInput, new_classifier
from pet.task.grammar import parse_template

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
NO_OPENVINO = pytest.mark.skipif(not is_installed("openvino"), reason="openvino is not installed")
RUNTIMES = ["onnx", pytest.param("openvino", marks=NO_OPENVINO)]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("runtime") / "in")


@pytest.fixture(scope="module")
def run(inputs: Path, tiny_model: Path) -> Path:
    """A zero-shot run: its members share the pretrained model."""
    folder = inputs.parent / "run"
    pet(*run_options(inputs, tiny_model, parts=["unlabeled"]), "--method", "zero-shot", "-q", "-o", folder)
    return folder


@pytest.fixture(scope="module")
def student(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("student") / "student"
    folder.mkdir()
    text = TextInput(("text",), parse_template("{text}", ["text"], mask=False))
    new_classifier(str(tiny_model), text, LABELS, 48).save(folder)
    return folder


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def probabilities(path: Path) -> Any:
    return np.array([list(row["probabilities"].values()) for row in rows(path)])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_label_by_an_engine_gives_the_labels_of_torch(run: Path, inputs: Path, tmp_path: Path, runtime: str):
    outputs = {name: tmp_path / f"{name}.jsonl" for name in ("torch", runtime)}
    for name, output in outputs.items():
        options = ("--input", inputs / "pool.jsonl", "-o", output, "--precision", "fp32", "--device", "cpu")
        result = pet("label", run, *options, "--runtime", name, "--json")
    said = json.loads(result.stdout)
    assert said["runtime"].startswith(runtime) and said["agreement"] == 1 and "(100.0 %)" in result.stderr
    np.testing.assert_allclose(probabilities(outputs[runtime]), probabilities(outputs["torch"]), atol=1e-5)


@pytest.mark.parametrize("options", [(), ("--quantize",)], ids=["fp32", "int8"])
def test_predict_by_an_engine_tells_which_one_and_how_many_labels_stay(
    student: Path, inputs: Path, tmp_path: Path, options: tuple[str, ...]
):
    output = tmp_path / "predicted.jsonl"
    files = ("--input", inputs / "pool.jsonl", "-o", output, "--device", "cpu")
    result = pet("predict", student, *files, "--runtime", "onnx", *options)
    assert "keep their label" in result.stderr and ("int8" if options else "fp32") in result.stderr
    assert len(rows(output)) == 16


def test_auto_tries_what_is_installed_and_takes_the_fastest(
    student: Path, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tried: list[str] = []
    monkeypatch.setattr(runtime, "WORTHWHILE", 1)
    monkeypatch.setattr(runtime, "fastest", lambda versions: tried.extend(versions) or "onnx")
    files = ("--input", inputs / "pool.jsonl", "-o", tmp_path / "p.jsonl", "--device", "cpu")
    result = pet("predict", student, *files, "--runtime", "auto")
    assert {"torch", "onnx"} <= set(tried) and "runtime: onnx" in result.stderr


def test_auto_stays_with_torch_for_a_few_texts(student: Path, inputs: Path, tmp_path: Path):
    files = ("--input", inputs / "pool.jsonl", "-o", tmp_path / "p.jsonl", "--device", "cpu")
    assert "torch" in pet("predict", student, *files, "--runtime", "auto").stderr


def test_members_that_share_a_model_are_refused(inputs: Path, tiny_model: Path, tmp_path: Path):
    folder = tmp_path / "prompts"
    pet(*run_options(inputs, tiny_model, parts=["train"]), "--tuning", "prompt", "-q", "-o", folder)
    files = ("--input", inputs / "pool.jsonl", "-o", tmp_path / "p.jsonl", "--device", "cpu")
    assert "prompt" in refused("label", folder, *files, "--runtime", "onnx")


@pytest.mark.parametrize("method", ["zero-shot", "prompt"])
def test_an_ensemble_that_shares_one_model_is_one_graph(
    run: Path, inputs: Path, tiny_model: Path, tmp_path: Path, method: str
):
    folder = run
    if method == "prompt":
        folder = tmp_path / "prompts"
        pet(*run_options(inputs, tiny_model, parts=["train"]), "--tuning", "prompt", "-q", "-o", folder)
    files = ("--onnx", "--ensemble", "--texts", inputs / "pool.jsonl")
    said = json.loads(pet("export", folder, "-o", tmp_path / "out", *files, "--json").stdout)
    figures = said["files"]["onnx/ensemble.onnx"]
    assert said["texts"] == 16 and figures["labels_kept"] == 1 and figures["difference"] < 1e-5
    about = json.loads((tmp_path / "out" / "ensemble.json").read_text(encoding="utf-8"))
    assert about["labels"] == list(LABELS) and len(about["members"]) == 2
    assert (about["members"][1]["first_vector"] > about["members"][0]["first_vector"]) == (method == "prompt")
