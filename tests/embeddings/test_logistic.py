"""Logistic regression on features of few labeled texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from pet.embeddings.logistic import DEFAULT_STRENGTH, FILE, Logistic, choose_strength, fit_logistic
from pet.embeddings.one_vs_rest import fit_one_vs_rest, fit_regression
from pet.errors import PetError
from pet.task.task import Task

GENERATOR = np.random.default_rng(0)
CODES = np.arange(24) % 3
FEATURES = np.eye(3)[CODES] + GENERATOR.normal(0, 0.4, (24, 3))


@pytest.mark.parametrize("kind", [np.asarray, csr_matrix])
@pytest.mark.parametrize("labels", [2, 3])
def test_probabilities_equal_those_of_scikit_learn(kind, labels):
    rows = labels > CODES
    model, strength = fit_logistic(kind(FEATURES[rows]), CODES[rows], labels)
    reference = LogisticRegression(C=strength, max_iter=200).fit(FEATURES[rows], CODES[rows])
    found = model.log_probabilities(kind(FEATURES[rows]))
    np.testing.assert_allclose(found, reference.predict_log_proba(FEATURES[rows]), atol=1e-5)


def test_soft_targets_of_certain_labels_equal_hard_ones():
    soft, strength = fit_logistic(FEATURES, np.eye(3)[CODES], 3)
    hard = LogisticRegression(C=strength, max_iter=200).fit(FEATURES, CODES)
    np.testing.assert_allclose(soft.log_probabilities(FEATURES), hard.predict_log_proba(FEATURES), atol=1e-5)


def test_soft_targets_weigh_the_labels_of_a_row():
    model, _ = fit_logistic(np.ones((40, 1)), np.tile([0.7, 0.2, 0.1], (40, 1)), 3)
    np.testing.assert_allclose(np.exp(model.log_probabilities(np.ones((1, 1))))[0], [0.7, 0.2, 0.1], atol=0.01)


def test_a_label_without_examples_gets_the_probability_of_the_rule_of_succession():
    rows = CODES < 2
    model, _ = fit_logistic(FEATURES[rows], CODES[rows], 4)
    chances = np.exp(model.log_probabilities(FEATURES))
    np.testing.assert_allclose(chances[:, 2:], 1 / (16 + 4), rtol=1e-6)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert (chances[:, :2].argmax(axis=1) == CODES)[rows].mean() > 0.8


def test_members_leave_a_label_without_examples_to_those_that_know_its_words():
    task = Task.load("agnews")
    rows = CODES < 2
    model, _ = fit_regression(FEATURES[rows], CODES[rows], task, seed=0)
    chances = np.exp(model.scores(FEATURES))
    np.testing.assert_allclose(chances[:, 2:], 1 / 4, rtol=1e-6)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert (chances[:, :2].max(axis=1) >= 1 / 4).all()  # alone, they do not name it


def test_one_label_alone_is_near_certain():
    model, _ = fit_logistic(FEATURES[:5], np.zeros(5, dtype=int), 2)
    np.testing.assert_allclose(np.exp(model.log_probabilities(FEATURES[:1])), [[6 / 7, 1 / 7]])


def test_noise_is_regularized_more_than_signal():
    noise = GENERATOR.normal(size=(24, 20))
    assert choose_strength(noise, CODES) < choose_strength(5 * np.eye(3)[CODES], CODES)


def test_any_seed_of_a_run_is_accepted():
    assert choose_strength(FEATURES, CODES, 2**63 - 1) == choose_strength(FEATURES, CODES, 2**63 - 1)


def test_one_example_a_label_leaves_nothing_to_validate_on():
    assert choose_strength(FEATURES[:3], CODES[:3]) == DEFAULT_STRENGTH


def test_a_saved_model_gives_the_same_numbers(tmp_path: Path):
    model, _ = fit_logistic(FEATURES, CODES, 4)
    model.save(tmp_path)
    np.testing.assert_array_equal(
        Logistic.load(tmp_path, 4).log_probabilities(FEATURES), model.log_probabilities(FEATURES)
    )


@pytest.mark.parametrize("damage", ["cut", "other labels", "missing"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str):
    model, _ = fit_logistic(FEATURES, CODES, 3)
    model.save(tmp_path)
    if damage == "cut":
        (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-5])
    if damage == "missing":
        (tmp_path / FILE).unlink()
    with pytest.raises(PetError, match=FILE):
        Logistic.load(tmp_path, 4 if damage == "other labels" else 3)


@pytest.mark.parametrize("kind", [np.asarray, csr_matrix])
@pytest.mark.parametrize("soft", [False, True])
def test_with_more_features_than_texts_the_model_is_that_of_all_features(kind, soft):
    features = np.concatenate([FEATURES, GENERATOR.normal(0, 0.1, (24, 60))], axis=1).astype(np.float32)
    targets = np.where(np.eye(3)[CODES] > 0, 0.9, 0.05) if soft else CODES
    model, strength = fit_logistic(kind(features), targets, 3)
    rows, codes = np.nonzero(np.ones((24, 3)) if soft else np.eye(3)[CODES])
    reference = LogisticRegression(C=strength, max_iter=200).fit(
        features[rows].astype(float), codes, targets[rows, codes] if soft else None
    )
    assert strength == (DEFAULT_STRENGTH if soft else choose_strength(features, CODES))
    found = np.exp(model.log_probabilities(kind(features)))
    np.testing.assert_allclose(found, reference.predict_proba(features), atol=0.01)
    assert model.weight.shape == (3, 63)


def test_texts_without_any_feature_can_be_fitted():
    model, _ = fit_logistic(csr_matrix((8, 20)), np.arange(8) % 2, 2)
    np.testing.assert_allclose(np.exp(model.log_probabilities(np.zeros((1, 20)))), 0.5, atol=1e-6)


@pytest.mark.parametrize("nearly", [5e-4, 1 - 5e-4])
def test_a_label_that_soft_targets_give_to_no_text_or_to_all_has_a_constant_probability(nearly: float):
    targets = np.stack([CODES == 0, np.full(len(CODES), nearly)], axis=1).astype(np.float64)
    model, _ = fit_one_vs_rest(FEATURES, targets)
    scores = model.scores(FEATURES)
    assert np.ptp(scores[:, 1]) == 0 and (scores[0, 1] > 0) == (nearly > 0.5)
    assert ((scores[:, 0] > 0) == (CODES == 0)).mean() > 0.9
