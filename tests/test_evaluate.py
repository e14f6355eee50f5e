"""Metrics compared with values worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pet.confusion import MOST_DENSE, Confusion
from pet.errors import PetError
from pet.evaluate import chance_ece, evaluate

LABELS = ["World", "Sports", "Sci/Tech"]


def certain(predicted: list[int], n_labels: int = 3) -> np.ndarray:
    return np.eye(n_labels)[predicted]


def test_metrics_match_values_worked_out_by_hand():
    # hits 1, 2, 1 of 2 each; predicted 2, 3, 1 times
    metrics = evaluate(certain([0, 1, 1, 1, 2, 0]), [0, 0, 1, 1, 2, 2], LABELS)
    assert metrics["n"] == 6
    assert metrics["confusion"] == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    assert metrics["accuracy"] == pytest.approx(4 / 6)
    assert metrics["per_class"] == {
        "World": {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2},
        "Sports": {"precision": pytest.approx(2 / 3), "recall": 1.0, "f1": pytest.approx(0.8), "support": 2},
        "Sci/Tech": {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2},
    }
    assert list(metrics["per_class"]) == LABELS
    assert metrics["macro_f1"] == pytest.approx((0.5 + 0.8 + 2 / 3) / 3)
    # (4 * 6 - 12) / sqrt((36 - 14) * (36 - 12)) = 12 / sqrt(528)
    assert metrics["mcc"] == pytest.approx(0.5222329679)
    # confidence 1 everywhere, 4 of 6 correct
    assert metrics["ece"] == pytest.approx(1 / 3)


def test_mcc_for_two_labels_equals_the_binary_formula():
    # tp 3, tn 2, fp 1, fn 2: (3*2 - 1*2) / sqrt(4 * 5 * 3 * 4)
    metrics = evaluate(certain([1, 1, 1, 0, 0, 0, 0, 1], 2), [1, 1, 1, 1, 1, 0, 0, 0], ["no", "yes"])
    assert metrics["mcc"] == pytest.approx(4 / 240**0.5)


@pytest.mark.parametrize(("texts", "lowest"), [(40, 0.5), (500, 0.5), (500, 0.9), (5000, 0.7)])
def test_the_calibration_error_by_chance_is_that_of_labels_drawn_with_the_confidences(texts: int, lowest: float):
    random = np.random.default_rng(texts)
    confidence = random.uniform(lowest, 1.0, texts)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    wrong = [(random.random(texts) > confidence).astype(int) for _ in range(100)]
    found = [evaluate(probabilities, gold, ["a", "b"]) for gold in wrong]
    expected = np.mean([metrics["ece"] for metrics in found])
    assert chance_ece(found[0]["calibration"]) == pytest.approx(expected, rel=0.1)


def test_the_calibration_error_by_chance_of_one_text_per_bin():
    # confidences .9 and .6: |1 - .9| with .9, |0 - .9| with .1, so .18 on average; and .48
    metrics = evaluate([[0.9, 0.1], [0.6, 0.4]], [0, 1], ["a", "b"])
    assert chance_ece(metrics["calibration"]) == pytest.approx((0.18 + 0.48) / 2)


def test_calibration_matches_values_worked_out_by_hand():
    # bin (.867, .933]: .9 correct, .9 wrong, gap .4; bin (.533, .6]: .6 correct, .55 wrong, gap .075
    probabilities = [[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.45, 0.55]]
    metrics = evaluate(probabilities, [0, 0, 0, 0], ["a", "b"])
    assert metrics["ece"] == pytest.approx((2 * 0.4 + 2 * 0.075) / 4)
    assert len(metrics["calibration"]) == 15
    filled = {i: row for i, row in enumerate(metrics["calibration"]) if row["n"]}
    assert filled.keys() == {8, 13}
    assert filled[8] == {
        "lower": pytest.approx(8 / 15),
        "upper": 0.6,
        "n": 2,
        "confidence": pytest.approx(0.575),
        "accuracy": 0.5,
    }
    assert metrics["calibration"][0]["confidence"] is None


def test_f1_of_a_label_without_gold_or_predictions_is_zero():
    metrics = evaluate(certain([0, 0, 0]), [0, 0, 1], LABELS)
    assert metrics["per_class"]["Sci/Tech"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    assert metrics["macro_f1"] == pytest.approx(0.8 / 3)
    assert metrics["mcc"] == 0.0


def test_one_label_and_one_example_give_finite_metrics():
    metrics = evaluate([[1.0]], [0], ["only"])
    assert (metrics["accuracy"], metrics["macro_f1"], metrics["mcc"], metrics["ece"]) == (1.0, 1.0, 0.0, 0.0)


def test_ties_go_to_the_first_label():
    assert evaluate([[0.5, 0.5]], [0], ["a", "b"])["accuracy"] == 1.0


def test_half_precision_is_accepted_and_results_are_plain_values():
    metrics = evaluate(np.array([[1.002, 0.0]], np.float16), np.array([0], np.int32), ["a", "b"])
    assert metrics["calibration"][14]["n"] == 1
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


@pytest.mark.filterwarnings("ignore:A single label was found")
@settings(max_examples=50, deadline=None)
@given(st.integers(2, 5), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_agrees_with_scikit_learn(n_labels: int, n: int, seed: int):
    scores = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(seed)
    probabilities = draw.dirichlet(np.ones(n_labels), n)
    gold, predicted = draw.integers(n_labels, size=n), probabilities.argmax(1)
    metrics = evaluate(probabilities, gold, [str(i) for i in range(n_labels)])
    names = list(range(n_labels))
    f1 = scores.f1_score(gold, predicted, labels=names, average="macro", zero_division=0)
    assert metrics["accuracy"] == pytest.approx(scores.accuracy_score(gold, predicted))
    assert metrics["macro_f1"] == pytest.approx(f1)
    # scikit-learn also returns 0 where the denominator is 0
    assert metrics["mcc"] == pytest.approx(scores.matthews_corrcoef(gold, predicted), abs=1e-9)
    assert metrics["confusion"] == scores.confusion_matrix(gold, predicted, labels=names).tolist()
    assert 0 <= metrics["ece"] <= 1
    assert sum(row["n"] for row in metrics["calibration"]) == n


@pytest.mark.parametrize("shape", [(0, 2), (0,)])
def test_data_without_labeled_examples_is_a_user_error(shape: tuple[int, ...]):
    with pytest.raises(PetError, match="no labeled examples"):
        evaluate(np.zeros(shape), np.zeros(0, int), ["a", "b"])


@pytest.mark.parametrize(
    ("probabilities", "gold", "labels"),
    [
        ([[0.5, 0.5]], [0], ["a"]),
        ([[0.5, 0.5]], [0, 1], ["a", "b"]),
        ([0.5, 0.5], [0, 1], ["a", "b"]),
        ([[0.5, 0.5]], [2], ["a", "b"]),
        ([[0.5, 0.5]], [-1], ["a", "b"]),
        ([[0.5, 0.5]], [0.0], ["a", "b"]),
        ([[0.5, 0.5]], [0], ["a", "a"]),
        ([[np.nan, 0.5]], [0], ["a", "b"]),
        ([[3.0, -1.0]], [0], ["a", "b"]),
    ],
)
def test_invalid_or_mismatched_arrays_are_rejected(probabilities: list, gold: list, labels: list[str]):
    with pytest.raises(ValueError):
        evaluate(probabilities, gold, labels)


def test_many_labels_take_little_room() -> None:
    labels = [f"label {i}" for i in range(3000)]
    gold = np.arange(60) * 7
    scores = np.zeros((60, 3000), dtype=np.float32)
    scores[np.arange(60), np.where(np.arange(60) % 3 == 0, gold, gold + 1)] = 1
    metrics = evaluate(scores, gold, labels)
    assert len(json.dumps(metrics["confusion"])) < 2000
    assert metrics["accuracy"] == 20 / 60
    found = Confusion.read(json.loads(json.dumps(metrics["confusion"])))
    assert found.hits.sum() == 20
    assert found.support[gold].tolist() == [1] * 60


@pytest.mark.parametrize("labels", [3, MOST_DENSE, MOST_DENSE + 1])
def test_confusions_survive_json(labels: int) -> None:
    generator = np.random.default_rng(0)
    gold, predicted = generator.integers(0, labels, (2, 50))
    found = Confusion.of(gold, predicted, labels)
    again = Confusion.read(json.loads(json.dumps(found.to_json())))
    assert again.cells() == found.cells()
    assert isinstance(found.to_json(), list) == (labels <= MOST_DENSE)
