"""Merging, weights, thresholds and figures of texts that may have several labels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, label_ranking_average_precision_score

from pet.embeddings.one_vs_rest import OneVsRest, fit_one_vs_rest
from pet.ensemble.combine import Ensemble, SoftLabelSets, share_correction
from pet.ensemble.soft_labels import writing_soft_labels
from pet.ensemble.stacking import PRIORS, stack
from pet.errors import PetError
from pet.evaluate_sets import evaluate_sets, shared_threshold
from pet.numerics import log_sigmoid, sigmoid
from pet.training.losses import independent_distillation_loss

GENERATOR = np.random.default_rng(0)
GOLD = (GENERATOR.random((60, 3)) < [0.5, 0.3, 0.2]).astype(np.int64)
ODDS = (GOLD * 2 - 1) * 1.5 + GENERATOR.normal(size=GOLD.shape)


def test_merged_log_odds_are_a_weighted_mean_and_abstaining_members_do_not_count() -> None:
    ensemble = replace(Ensemble.of(["a", "b"], labels=2, weights=[0.75, 0.25]), independent=True, threshold=0.4)
    first, second = np.array([[2.0, -1.0], [1.0, 0.0]]), np.array([[-2.0, 3.0], [np.nan, np.nan]])
    soft = ensemble.combine([first, second])
    assert isinstance(soft, SoftLabelSets)
    np.testing.assert_allclose(soft.probabilities, sigmoid(np.array([[1.0, 0.0], [1.0, 0.0]])))
    assert soft.votes.tolist() == [[[1, 0], [0, 1]], [[1, 1], [-1, -1]]]
    assert soft.applies.all() and soft.agreement.tolist() == [0.5, 1.0]
    assert soft.take(np.array([1])).threshold == 0.4
    assert Ensemble.from_dict(ensemble.to_dict(), 2).to_dict() == ensemble.to_dict()


def test_the_correction_gives_each_label_its_share() -> None:
    target = np.array([0.7, 0.4, 0.01])
    biased = ODDS + share_correction(ODDS, target)
    np.testing.assert_allclose(sigmoid(biased).mean(axis=0), target, atol=1e-9)


def test_a_member_that_knows_the_labels_gets_more_weight_than_noise() -> None:
    noise = GENERATOR.normal(size=ODDS.shape) * 3
    found = stack(["embeddings", "head"], [ODDS, noise], GOLD, PRIORS)
    assert found.kinds["embeddings"] > 0.8
    weights = np.array([found.kinds["embeddings"], found.kinds["head"]]) / found.temperature
    np.testing.assert_allclose(found.log_probabilities, weights[0] * ODDS + weights[1] * noise)
    nothing = stack(["pattern"], [np.full((0, 3), np.nan)], np.zeros((0, 3)), PRIORS)
    assert nothing.weights.tolist() == [1.0]


def test_the_threshold_is_shared_and_shrunk_toward_one_half() -> None:
    low = ODDS - 2
    few, many = shared_threshold(low[:10], GOLD[:10]), shared_threshold(low, GOLD)
    assert many < few < 0.5
    assert shared_threshold(ODDS[:0], GOLD[:0]) == shared_threshold(ODDS, GOLD * 0) == 0.5


def test_the_logarithm_of_a_probability_is_unknown_where_the_score_is() -> None:
    with np.errstate(invalid="raise"):
        found = log_sigmoid(np.array([np.nan, -800.0, 1.0]))
    np.testing.assert_allclose(found, [np.nan, -800.0, np.log(sigmoid(np.array(1.0)))])


def test_figures_are_those_of_scikit_learn() -> None:
    probabilities = sigmoid(ODDS)
    found = evaluate_sets(probabilities, GOLD, ["a", "b", "c"], threshold=0.3)
    said = probabilities >= 0.3
    assert found["micro_f1"] == pytest.approx(f1_score(GOLD, said, average="micro"))
    assert found["macro_f1"] == pytest.approx(f1_score(GOLD, said, average="macro"))
    assert found["lrap"] == pytest.approx(label_ranking_average_precision_score(GOLD, probabilities))
    assert found["exact_match"] == pytest.approx((said == GOLD).all(axis=1).mean())
    assert found["per_class"]["b"]["support"] == GOLD[:, 1].sum()


def test_nothing_and_other_shapes_are_not_evaluated() -> None:
    with pytest.raises(PetError, match="no labeled examples"):
        evaluate_sets(np.zeros((0, 2)), np.zeros((0, 2)), ["a", "b"])
    with pytest.raises(ValueError, match="shape"):
        evaluate_sets(np.zeros((2, 2)), np.zeros(2), ["a", "b"])


def test_a_label_without_examples_gets_a_small_probability_and_others_are_learned(tmp_path) -> None:
    features = np.column_stack([ODDS[:, :2], GENERATOR.normal(size=(60, 4))])
    targets = GOLD.copy()
    targets[:, 2] = 0
    model, strength = fit_one_vs_rest(features, targets)
    assert strength in (1.0, 10.0, 100.0)
    scores = model.scores(features)
    np.testing.assert_allclose(sigmoid(scores[:, 2]), 1 / 62, rtol=1e-6)
    assert ((scores[:, :2] > 0) == (targets[:, :2] > 0)).mean() > 0.85
    model.save(tmp_path)
    np.testing.assert_allclose(OneVsRest.load(tmp_path, 3).scores(features), scores, rtol=1e-5)
    with pytest.raises(PetError, match="4 labels"):
        OneVsRest.load(tmp_path, 4)


def test_a_student_that_agrees_with_its_teacher_has_no_loss() -> None:
    teacher = torch.tensor([[2.0, -1.0], [0.0, 3.0]])
    assert independent_distillation_loss(teacher, teacher, 2.0).item() == pytest.approx(0, abs=1e-6)
    expected = sum(
        p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)) for p, q in [(sigmoid(1.0), 0.5), (sigmoid(-0.5), 0.5)]
    )
    found = independent_distillation_loss(torch.zeros(1, 2), torch.tensor([[2.0, -1.0]]), 2.0)
    assert found.item() == pytest.approx(4 * float(expected) / 2)


def test_a_member_alone_agrees_with_its_labels() -> None:
    ensemble = replace(Ensemble.of(["m"], labels=2), independent=True, threshold=0.3, temperature=2.0)
    ensemble = replace(ensemble, bias=np.array([0.5, -0.5]))
    soft = ensemble.combine([np.array([[-2.0, -6.0], [3.0, 1.0]])])
    assert soft.applies.tolist() == [[True, False], [True, True]]
    assert soft.agrees.all() and soft.agreement.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("labels", "votes"),
    [(["a", "b"], {"m": "a;b", "n": ""}), (["a;b", "b"], {"m": '["a;b", "b"]', "n": "[]"})],
)
def test_votes_for_labels_that_contain_the_separator_are_lists(
    tmp_path: Path, labels: list[str], votes: dict[str, str]
) -> None:
    ensemble = replace(Ensemble.of(["m", "n", "silent"], labels=2), independent=True)
    nothing = np.full((1, 2), np.nan)
    soft = ensemble.combine([np.array([[2.0, 1.0]]), np.array([[-2.0, -1.0]]), nothing])
    with writing_soft_labels(tmp_path / "x.jsonl", labels, ensemble.names, independent=True) as append:
        append(["1"], soft)
    assert json.loads((tmp_path / "x.jsonl").read_text())["votes"] == {**votes, "silent": None}
