"""``--runtime`` of `pet label` and `pet predict`: the same results by another engine."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from small_run import pet, refused, run_options, write_inputs
from tiny_text import LABELS

from pet.errors import PetError
from pet.extras import is_installed
from pet.inference import runtime
from pet.inference.ensemble import open_ensemble
from pet.inference.exported import open_exported
from pet.inference.options import ComputeOptions
from pet.progress import Reporter
from pet.serving.model import open_served
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
    assert said["runtime"].startswith(runtime) and said["agreement"] == 1 and "(100.0%)" in result.stderr
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


@pytest.mark.parametrize("kind", ["classifier", "ensemble"])
def test_auto_stays_with_torch_if_the_only_engine_cannot_run_the_model(
    kind: str, student: Path, run: Path, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fails(*arguments: Any, **named: Any) -> Any:
        raise PetError("no graph")

    monkeypatch.setattr(runtime, "WORTHWHILE", 1)
    monkeypatch.setattr(runtime, "installed_runtimes", lambda: ["onnx"])
    monkeypatch.setattr(runtime, "classifier_engine" if kind == "classifier" else "member_engine", fails)
    command = ("predict", student) if kind == "classifier" else ("label", run)
    options = ("--input", inputs / "pool.jsonl", "--device", "cpu", "--precision", "fp32", "--runtime")
    assert "runtime: torch" in pet(*command, *options, "auto", "-o", tmp_path / "auto.jsonl").stderr
    assert "no graph" in refused(*command, *options, "onnx", "-o", tmp_path / "onnx.jsonl")


def test_a_member_that_no_engine_can_run_leaves_all_members_to_torch(
    run: Path, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ensemble = open_ensemble(run, device="cpu", precision="fp32")
    texts = [{"id": str(number), "text": row["text"]} for number, row in enumerate(rows(inputs / "pool.jsonl"))]
    table = Dataset.from_list(texts)
    before = ensemble.label(table).probabilities
    made = iter([runtime.member_engine(ensemble.scorers[0], "onnx", "fp32")])

    def second_fails(*arguments: Any) -> Any:
        engine = next(made, None)
        if engine is None:
            raise PetError("no graph")
        return engine

    monkeypatch.setattr(runtime, "has_engine", lambda scorer: False)
    monkeypatch.setattr(runtime, "member_engine", second_fails)
    monkeypatch.setattr(runtime, "WORTHWHILE", 1)
    monkeypatch.setattr(runtime, "_fastest_of", lambda *arguments: "onnx")
    prepared = runtime.prepare_ensemble(ensemble, table, ComputeOptions(runtime="auto"), Reporter("quiet"))
    assert str(prepared.engine).startswith("torch") and not ensemble.shared.models.engines
    np.testing.assert_array_equal(ensemble.label(table).probabilities, before)


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

    expected = labeled(folder, inputs, tmp_path / "torch.jsonl", "--precision", "fp32")
    for name in ("onnx", "openvino"):
        if name == "onnx" or is_installed(name):
            found = labeled(tmp_path / "out", inputs, tmp_path / f"{name}.jsonl", "--runtime", name)
            assert [row["label"] for row in found] == [row["label"] for row in expected]
            assert [row["votes"] for row in found] == [row["votes"] for row in expected]
            for one, other in zip(found, expected, strict=True):
                assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-4)
    served = open_served(str(tmp_path / "out"), ComputeOptions(runtime="onnx", device="cpu"))
    texts = [row["text"] for row in rows(inputs / "pool.jsonl")]
    np.testing.assert_allclose(
        served.probabilities([{"text": text} for text in texts]),
        [list(row["probabilities"].values()) for row in expected],
        atol=1e-4,
    )


def labeled(model: Path, inputs: Path, output: Path, *options: str) -> list[dict[str, Any]]:
    pet("label", model, "--input", inputs / "pool.jsonl", "-o", output, "--device", "cpu", "-q", *options)
    return rows(output)


@pytest.fixture(scope="module")
def exported(run: Path, inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ensemble of `run` as one graph."""
    place = tmp_path_factory.mktemp("exported") / "out"
    pet("export", run, "-o", place, "--onnx", "--ensemble", "--texts", inputs / "pool.jsonl", "-q")
    return place


def test_what_an_exported_ensemble_cannot_do_is_refused(exported: Path, inputs: Path, tmp_path: Path):
    files = ("--input", inputs / "pool.jsonl", "-o", tmp_path / "p.jsonl", "--device", "cpu")
    assert "pet label" in refused("predict", exported, *files)
    assert "holds an ensemble" in refused("push", exported, "someone/x", "--dry-run")
    assert "--runtime onnx" in refused("label", exported, *files, "--runtime", "torch")
    assert "--quantize" in refused("label", exported, *files, "--quantize")
    assert "--none-of-these" in refused("label", exported, *files, "--none-of-these", "0.05")
    assert "--html" in refused("label", exported, *files, "--html", tmp_path / "p.html")
    assert list(tmp_path.iterdir()) == []


def test_scores_that_are_no_numbers_are_no_abstentions(exported: Path):
    opened = open_exported(exported, ComputeOptions(runtime="onnx"))
    broken = replace(opened.engine, run=lambda values: [found * np.nan for found in opened.engine.run(values)])
    with pytest.raises(PetError, match="NaN"):
        replace(opened, engine=broken).label(Dataset.from_dict({"id": ["0"], "text": ["Shares fall"]}))


def test_a_damaged_ensemble_is_named(exported: Path, inputs: Path, tmp_path: Path):
    place = tmp_path / "copy"
    shutil.copytree(exported, place)
    note = place / "ensemble.json"
    about = json.loads(note.read_text(encoding="utf-8"))
    files = ("--input", inputs / "pool.jsonl", "-o", tmp_path / "p.jsonl", "--device", "cpu", "--runtime", "onnx")
    for wrong, named in (
        ({"members": about["members"][:1]}, "members"),
        ({"members": [{**one, "pattern": 9} for one in about["members"]]}, "pattern"),
        ({"max_length": 0}, "max_length"),
        ({"merging": {"members": ["a", "b"], "weights": [1]}}, "weights"),
        ({"task": {}}, "task"),
    ):
        note.write_text(json.dumps(about | wrong), encoding="utf-8")
        message = refused("label", place, *files)
        assert "ensemble.json" in message and named in message
    other = {"members": about["members"] * 2, "merging": {"members": list("abcd"), "weights": [1, 1, 1, 1]}}
    note.write_text(json.dumps(about | other), encoding="utf-8")
    assert "ensemble" in refused("label", place, *files)
    (place / "onnx" / "ensemble.onnx").write_bytes(b"no graph")
    assert "ensemble.onnx" in refused("label", place, *files)
    assert not (tmp_path / "p.jsonl").exists()


@pytest.mark.parametrize("runtime", ["onnx", "auto"])
def test_what_is_served_may_run_by_another_engine(student: Path, run: Path, runtime: str):
    texts = [{"text": "Shares fall"}, {"text": "The team won the cup again"}]
    for model in (student, run):
        torch, engine = (open_served(str(model), ComputeOptions(device="cpu", precision="fp32", runtime=name))
                         for name in (None, runtime))  # fmt: skip
        np.testing.assert_allclose(engine.probabilities(texts), torch.probabilities(texts), atol=1e-4)


def test_serving_names_its_runtime(student: Path):
    said: list[str] = []
    reporter = Reporter("quiet")
    reporter.info = said.append  # type: ignore[method-assign]
    open_served(str(student), ComputeOptions(device="cpu", runtime="onnx"), reporter)
    assert said and "onnx" in said[0]
