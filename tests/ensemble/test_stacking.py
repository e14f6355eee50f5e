"""Learned weights: hand-worked optima, the prior, and what must not matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pet.ensemble.stacking import PRIORS, Prior, stack
from pet.numerics import log_softmax

FLAT = {"a": Prior(1.0, spread=1000.0), "b": Prior(1.0, spread=1000.0)}


def scores_of(odds: list[float]) -> np.ndarray:
    """Log-probabilities of two labels whose log-odds for the first are given."""
    return log_softmax(np.stack([np.asarray(odds), np.zeros(len(odds))], axis=1))


def test_a_flat_prior_gives_the_maximum_of_the_likelihood() -> None:
    """Right on 3 of 4 texts with log-odds 1: the likelihood is highest at sigmoid(w) = 3/4, so w = log 3."""
    stacked = stack(["a"], [scores_of([1, 1, 1, -1])], np.zeros(4, dtype=int), FLAT)
    assert stacked.weights.tolist() == [1.0]
    assert 1 / stacked.temperature == pytest.approx(np.log(3), rel=1e-4)
    assert np.exp(stacked.log_probabilities[:, 0]).tolist() == pytest.approx([0.75, 0.75, 0.75, 0.25], rel=1e-4)


def test_labeled_texts_count_as_often_as_their_label_occurs() -> None:
    """Labels 0, 0, 1 at log-odds 1; label 0 is three times as frequent as in the labeled texts: 6 of 7 are right.

    The ratio alone says log 3, so sigmoid(w + log 3) = 6/7 and w = log 2.
    """
    gold, ratio = np.array([0, 0, 1]), np.array([1.5, 0.5])
    stacked = stack(["a"], [scores_of([1, 1, 1])], gold, FLAT, ratio)
    assert 1 / stacked.temperature == pytest.approx(np.log(2), rel=1e-4)


def test_the_prior_and_one_text_meet_where_their_slopes_cancel() -> None:
    """One text, right with log-odds 2: d/dw log sigmoid(2 w) = 2 (1 - sigmoid(2 w)) = log(w) / w under Prior(1, 1)."""
    stacked = stack(["a"], [scores_of([2])], np.zeros(1, dtype=int), {"a": Prior(1.0, 1.0)})
    weight = 1 / stacked.temperature
    assert weight > 1
    assert 2 * (1 - 1 / (1 + np.exp(-2 * weight))) == pytest.approx(np.log(weight) / weight, abs=1e-5)


def test_without_evidence_each_kind_has_its_prior_weight() -> None:
    nothing = np.full((2, 3), np.nan)
    stacked = stack(["a", "a", "b"], [nothing] * 3, np.zeros(2, dtype=int), {"a": Prior(2), "b": Prior(1)})
    assert (stacked.weights / stacked.temperature).tolist() == pytest.approx([1, 1, 1])
    assert not stacked.known.any() and stacked.kinds == pytest.approx({"a": 2 / 3, "b": 1 / 3})


def test_members_of_a_kind_score_different_texts() -> None:
    """Each of two members knows two texts; together they are the member that knows all four."""
    whole = scores_of([1, 1, 1, -1])
    first, second = whole.copy(), whole.copy()
    first[:2], second[2:] = np.nan, np.nan
    stacked = stack(["a", "a"], [first, second], np.zeros(4, dtype=int), FLAT)
    assert stacked.weights.tolist() == pytest.approx([0.5, 0.5])
    assert 1 / stacked.temperature == pytest.approx(np.log(3), rel=1e-4)


def test_a_kind_that_guesses_loses_its_weight_with_more_texts() -> None:
    generator = np.random.default_rng(0)
    weights = []
    for texts in (0, 20, 200):
        gold = generator.integers(0, 2, texts)
        good = log_softmax(np.eye(2)[gold] * 2 + generator.normal(size=(texts, 2)))
        bad = log_softmax(generator.normal(size=(texts, 2)))
        weights.append(stack(["a", "b"], [good, bad], gold, {"a": Prior(1), "b": Prior(1)}).weights[1])
    assert weights[0] == pytest.approx(0.5)
    assert weights[0] > weights[1] > weights[2]


@given(st.permutations(range(4)), st.integers(0, 3))
def test_the_order_of_members_and_texts_does_not_matter(order: list[int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    kinds = ["pattern", "pattern", "embeddings", "tfidf"]
    scores, gold = [generator.normal(size=(6, 3)) for _ in kinds], generator.integers(0, 3, 6)
    before = stack(kinds, scores, gold, PRIORS)
    texts = generator.permutation(6)
    after = stack([kinds[i] for i in order], [scores[i][texts] for i in order], gold[texts], PRIORS)
    assert after.weights == pytest.approx(before.weights[order], rel=1e-3)
    assert after.temperature == pytest.approx(before.temperature, rel=1e-3)
