"""Classifiers from elsewhere: outputs are read as config.json says, as a pipeline does, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from pet.errors import PetError
from pet.inference.evaluate_file import evaluate_file
from pet.inference.predict_file import predict_file
from pet.numerics import sigmoid
from pet.student.classifier import load_classifier
from pet.student.outputs import Outputs, outputs_of

TEXTS = ["good news", "bad news about a river", ""]
ABC = {0: "a", 1: "b", 2: "c"}


@pytest.fixture(scope="module")
def foreign(tiny_model, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Save a classifier with a trained-looking head; keyword arguments go to its configuration."""

    def make(**config: Any) -> Path:
        folder = tmp_path_factory.mktemp("foreign")
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_pretrained(tiny_model, **config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.2 * torch.randn_like(parameter)
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
        return folder

    return make


def _predict(model: Path, folder: Path, name: str = "out.jsonl") -> Path:
    source = folder / "texts.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    predict_file(str(model), str(source), folder / name)
    return folder / name


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


@pytest.mark.parametrize("longest", [1, 2])
def test_inputs_without_room_for_text_are_refused(foreign, longest: int) -> None:
    """transformers would not cut texts then, or cut all of them to nothing."""
    folder = foreign(id2label=ABC)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"model_max_length": longest}))
    with pytest.raises(PetError, match=r"model_max_length.*2 are special"):
        load_classifier(str(folder))


def test_a_setting_of_other_families_does_not_move_the_padding(foreign) -> None:
    folder = foreign(id2label=ABC)
    _edit(folder, summary_type="last")
    assert not load_classifier(str(folder)).pads_left


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({"num_labels": 3}, id="softmax"),
        pytest.param({"num_labels": 3, "problem_type": "single_label_classification"}, id="named softmax"),
        pytest.param({"id2label": ABC, "problem_type": "multi_label_classification"}, id="multi-label"),
        pytest.param({"num_labels": 1}, id="one output"),
        pytest.param({"num_labels": 1, "problem_type": "multi_label_classification"}, id="one multi-label output"),
    ],
)
def test_probabilities_are_the_scores_of_a_pipeline(foreign, tmp_path: Path, config: dict[str, Any]) -> None:
    folder = foreign(**config)
    pipe = pipeline("text-classification", str(folder), device="cpu", top_k=None)
    for row, answer in zip(_rows(_predict(folder, tmp_path)), pipe(TEXTS), strict=True):
        assert row["probabilities"] == pytest.approx({entry["label"]: entry["score"] for entry in answer}, abs=1e-5)
        assert (row["label"], row["confidence"]) == (answer[0]["label"], pytest.approx(answer[0]["score"], abs=1e-5))


def test_a_multi_label_table_lists_the_labels_that_apply(foreign, tmp_path: Path) -> None:
    folder = foreign(id2label=ABC, problem_type="multi_label_classification")
    rows = _rows(_predict(folder, tmp_path))
    for row in rows:
        assert row["labels"] == [label for label, p in row["probabilities"].items() if p >= 0.5]
    assert any(len(row["labels"]) != 1 for row in rows)
    table = pq.read_table(_predict(folder, tmp_path, "out.parquet")).to_pylist()
    assert [row["labels"] for row in table] == [row["labels"] for row in rows]
    header, first, *_ = _predict(folder, tmp_path, "out.csv").read_text(encoding="utf-8").splitlines()
    assert header == "id,label,labels,confidence,p(a),p(b),p(c)"
    assert json.dumps(rows[0]["labels"]).replace('"', '""') in first


def test_other_tables_have_no_column_for_several_labels(foreign, tmp_path: Path) -> None:
    assert "labels" not in _rows(_predict(foreign(num_labels=2), tmp_path))[0]


@pytest.mark.parametrize("config", [{"num_labels": 1}, {"id2label": ABC, "problem_type": "multi_label_classification"}])
def test_what_needs_one_label_for_each_text_refuses_a_multi_label_classifier(foreign, config: dict[str, Any]) -> None:
    folder = str(foreign(**config))
    with pytest.raises(PetError, match="multi-label"):
        load_classifier(folder)


def test_a_multi_label_classifier_is_evaluated_on_sets_of_labels(foreign, tmp_path: Path) -> None:
    folder = str(foreign(id2label=ABC, problem_type="multi_label_classification"))
    (tmp_path / "test.jsonl").write_text('{"text": "a", "label": ["a", "b"]}\n{"text": "b", "label": "c"}\n')
    metrics = evaluate_file(folder, str(tmp_path / "test.jsonl"))
    assert metrics["n"] == 2 and "micro_f1" in metrics and "accuracy" not in metrics


def test_a_regression_model_is_refused_and_nothing_is_written(foreign, tmp_path: Path) -> None:
    folder = foreign(num_labels=1, problem_type="regression")
    with pytest.raises(PetError, match="regression"):
        _predict(folder, tmp_path)
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        ({"problem_type": "ranking"}, ["problem_type", "'ranking'"]),
        ({"id2label": {"0": "a", "2": "b", "3": "c"}}, ["id2label", "0, 2, 3"]),
        ({"id2label": {"x": "a", "1": "b"}}, ["id2label", "x, 1"]),
        ({"id2label": ["a", "b"]}, ["id2label"]),
        ({"id2label": {}}, ["id2label"]),
        ({"id2label": {"0": "a", "1": None}}, ["id2label", "None"]),
        ({"id2label": {"0": "a", "1": "a"}}, ["id2label", "'a'", "more than one"]),
        ({"id2label": {"0": "a", "1": "b"}, "num_labels": 3}, ["id2label", "2 labels", "3"]),
        ({"num_labels": "3"}, ["num_labels", "'3'"]),
        ({"num_labels": 0}, ["num_labels"]),
        ({"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 1, "b": 0}}, ["label2id", "id2label", "'a'"]),
        ({"num_labels": 1, "problem_type": "single_label_classification"}, ["one output"]),
    ],
)
def test_a_configuration_that_contradicts_itself_is_one_message(config: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(PetError) as caught:
        outputs_of(config, "theirs")
    (message,) = caught.value.problems
    assert all(part in message for part in ["theirs", *parts])


def test_a_contradiction_is_found_before_the_model_is_opened(foreign, tmp_path: Path) -> None:
    folder = foreign(num_labels=3)
    _edit(folder, id2label={"0": "a", "1": "b", "2": "b"})
    with pytest.raises(PetError, match="'b'"):
        _predict(folder, tmp_path)
    _edit(folder, id2label=["a", "b", "c"])  # the library itself fails on this one
    with pytest.raises(PetError, match="id2label"):
        _predict(folder, tmp_path)


@pytest.mark.parametrize(
    ("config", "labels"),
    [
        ({}, ("LABEL_0", "LABEL_1")),
        ({"num_labels": 3}, ("LABEL_0", "LABEL_1", "LABEL_2")),
        ({"id2label": {"1": "b", "0": "a"}}, ("a", "b")),
        ({"id2label": {0: 5, 1: 3}}, ("5", "3")),
        ({"id2label": {"0": "a", "1": "b"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}, ("a", "b")),
        ({"id2label": {"0": "a", "1": "b"}, "label2id": {"a": "0", "b": "1"}}, ("a", "b")),
        ({"id2label": {"0": "a", "1": "b"}, "label2id": None}, ("a", "b")),
    ],
)
def test_sound_configurations_name_the_labels_in_order(config: dict[str, Any], labels: tuple[str, ...]) -> None:
    assert outputs_of(config, "theirs") == Outputs(labels)


def test_the_sigmoid_does_not_overflow() -> None:
    with np.errstate(all="raise", under="ignore"):
        found = sigmoid(np.array([-1e4, -1.0, 0.0, 1.0, 1e4]))
    np.testing.assert_allclose(found, [0, 1 / (1 + np.e), 0.5, np.e / (1 + np.e), 1])
