"""`PetClassifier` for texts that may have several labels."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from tiny_text import LABELS, news_rows

from pet import PetClassifier, RunResult
from pet.estimator.label_sets import indicator_of
from pet.task.task import Task

TASK: dict[str, Any] = {
    "task": "topics",
    "fields": ["text"],
    "labels": list(LABELS),
    "multi_label": True,
    "verbalizer": {label: label.lower() for label in LABELS},
    "patterns": ["{text} It is {mask}."],
}
ROWS = news_rows()[:8]
TEXTS = [row["text"] for row in ROWS]
SETS = [[row["label"], LABELS[0]] if number % 2 else [] for number, row in enumerate(ROWS)]


@pytest.fixture(scope="module")
def fitted(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> PetClassifier:
    folder = tmp_path_factory.mktemp("fitted") / "run"
    settings = {"steps": 2, "student_steps": 2, "max_length": 64, "merge": "uniform"}
    classifier = PetClassifier(
        TASK, model=str(tiny_model), settings=settings, device="cpu", output=folder, estimate=True
    )
    return classifier.fit(TEXTS, SETS, unlabeled=[row["text"] for row in news_rows()[8:16]])


def test_it_predicts_an_indicator_in_the_order_of_the_labels(fitted: PetClassifier) -> None:
    probabilities, said = fitted.predict_proba(TEXTS), fitted.predict(TEXTS)
    assert fitted.classes_.tolist() == list(LABELS)
    np.testing.assert_array_equal(said, (probabilities >= 0.5).astype(int))
    assert fitted.score(TEXTS, said) == 1.0
    assert fitted.soft_labels_ is not None and fitted.soft_labels_.independent
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(TEXTS), said)


def test_its_folder_shows_the_texts_with_their_labels(fitted: PetClassifier) -> None:
    result = RunResult(str(fitted.output))
    frame, soft = result.labels(), fitted.soft_labels_
    assert soft is not None and frame["id"].tolist() == soft.ids
    assert frame[[f"p({label})" for label in LABELS]].to_numpy() == pytest.approx(soft.probabilities, abs=1e-4)
    assert set(result.texts(doubtful=2)["nearest_label"]) <= {
        "",
        *(";".join(sorted(set(own), key=LABELS.index)) for own in SETS),
    }


def test_the_estimate_is_in_the_results(fitted: PetClassifier) -> None:
    estimate = fitted.results_["estimate"]
    assert estimate["halves"]["judged"] == 8
    assert estimate["micro_f1"] == estimate["halves"]["micro_f1"]


def test_y_may_be_lists_an_array_a_sparse_matrix_or_a_frame() -> None:
    task = Task.from_dict(TASK)
    expected = indicator_of(SETS, task)
    assert expected.sum(axis=1).tolist() == [0, 2, 0, 2, 0, 2, 0, 2]
    frame = pd.DataFrame(expected, columns=list(LABELS))[list(LABELS[::-1])]
    mixed = frame.astype({LABELS[0]: bool, LABELS[1]: "Int64"})
    same = [expected, expected.astype(bool), expected.astype(object), scipy.sparse.csr_matrix(expected), frame, mixed]
    for y in [*same, list(map(set, SETS))]:
        np.testing.assert_array_equal(indicator_of(y, task), expected)


@pytest.mark.parametrize(
    ("y", "named"),
    [
        (np.zeros((8, 2)), "2 columns.*4 labels"),
        (np.full((8, 4), 2), "row 0.*1 if the label applies"),
        (np.full((8, 4), "1"), "row 0.*'1'.*1 if the label applies"),
        (pd.DataFrame({label: pd.array([1, None], dtype="Int64") for label in LABELS}), "row 1.*1 if the label"),
        ([["Wrld"], []], "row 0.*'Wrld'.*World"),
        (pd.DataFrame({"World": [1], "Sport": [0]}), "'Sport'.*Sports"),
    ],
)
def test_mistakes_in_y_name_the_row_and_the_cure(y: Any, named: str, tiny_model: Path) -> None:
    with pytest.raises(ValueError, match=f"(?s){named}"):
        PetClassifier(TASK, model=str(tiny_model)).fit(TEXTS, y)
