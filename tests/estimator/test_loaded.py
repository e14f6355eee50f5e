"""`PetClassifier.load`: the folder of a finished run as a fitted classifier."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.base import clone
from small_run import pet, run_options, write_inputs
from tiny_text import LABELS

from pet import PetClassifier


@pytest.fixture(scope="module")
def finished(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("loaded")
    pet(*run_options(write_inputs(place / "in"), tiny_model), "-q", "-o", place / "run")
    return place / "run"


def test_it_predicts_like_the_saved_student(finished: Path, tmp_path: Path) -> None:
    test = finished.parent / "in" / "test.jsonl"
    pet("predict", finished, "--input", test, "-q", "-o", tmp_path / "p.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "p.jsonl").open()]
    texts = [json.loads(line)["text"] for line in test.open()]
    classifier = PetClassifier.load(finished)
    assert classifier.predict(texts).tolist() == [row["label"] for row in rows]
    assert classifier.classes_.tolist() == sorted(LABELS)
    wanted = [[row["probabilities"][label] for label in classifier.classes_] for row in rows]
    assert classifier.predict_proba(texts) == pytest.approx(np.array(wanted), abs=1e-4)
    assert len(classifier.soft_labels_.ids) == 16


def test_its_parameters_are_those_of_the_run(finished: Path) -> None:
    classifier = PetClassifier.load(finished)
    assert classifier.random_state == 0
    assert classifier.settings["steps"] == "3"
    assert classifier.estimate is None  # as in `pet run`
    assert not hasattr(clone(classifier), "classes_")


def test_it_reads_the_columns_that_the_run_has_read(tiny_model: Path, tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path / "in")
    for file in inputs.glob("*.jsonl"):
        file.write_text(file.read_text(encoding="utf-8").replace('"text"', '"body"'), encoding="utf-8")
    pet(*run_options(inputs, tiny_model), "--column", "text=body", "-q", "-o", tmp_path / "run")
    classifier = PetClassifier.load(tmp_path / "run")
    texts = [json.loads(line)["body"] for line in (inputs / "test.jsonl").open(encoding="utf-8")]
    expected = classifier.predict_proba(texts)
    for table in ({"body": texts}, {"text": texts}, [{"body": text} for text in texts]):
        np.testing.assert_array_equal(classifier.predict_proba(table), expected)
    assert clone(classifier).task.columns == {"text": "body"}


def test_a_folder_without_a_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pet run"):
        PetClassifier.load(tmp_path)


def test_a_student_that_was_changed_is_refused(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    note = tmp_path / "run" / "student" / "pet.json"
    note.write_text(note.read_text().replace("{text}", "{text}."))
    with pytest.raises(ValueError, match=r"pet\.json.*changed"):
        PetClassifier.load(tmp_path / "run")


def test_a_student_with_other_labels_than_the_run_is_refused(finished: Path, tmp_path: Path) -> None:
    """It would give the names of other labels, in the order of the task."""
    shutil.copytree(finished, tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    written = yaml.safe_load(config.read_text(encoding="utf-8"))
    written["settings"]["task"]["labels"].reverse()
    config.write_text(yaml.safe_dump(written), encoding="utf-8")
    with pytest.raises(ValueError, match=r"student.*labels are not those of the run"):
        PetClassifier.load(tmp_path / "run")


def test_a_saved_classifier_is_refused_with_what_opens_it(finished: Path) -> None:
    with pytest.raises(ValueError, match=r"saved classifier.*pipeline.*output="):
        PetClassifier.load(finished / "student")
