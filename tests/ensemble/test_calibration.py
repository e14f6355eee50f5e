"""How often merged labels are wrong, and the temperature that says so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pet.ensemble.calibration import ERRORS, SHARED_ERRORS, disagreement, estimate_error, inverse_temperature
from pet.numerics import softmax


def test_disagreement_is_the_mean_over_pairs_and_texts() -> None:
    """Texts 1 and 2: all agree; text 3: 2 of 3 pairs disagree; text 4: all 3 pairs disagree."""
    labels = [np.array([0, 1, 0, 0]), np.array([0, 1, 0, 1]), np.array([0, 1, 1, 2])]
    assert disagreement(labels) == pytest.approx((0 + 0 + 2 + 3) / 12)


def test_the_expected_error_is_the_posterior_mean_on_a_fine_grid() -> None:
    """A disagreement of .2 and 10 wrong of 40: integrate the posterior with 100,000 points."""
    errors = (np.arange(100_000) + 0.5) / 100_000 * 0.75
    prior = (1 + (np.log(errors / (1.46 * 0.2)) / 0.12) ** 2 / 3) ** -2 / errors
    posterior = prior * errors**10 * (1 - errors) ** 30
    found = estimate_error(0.2, 4, wrong=10, judged=40)
    assert found.mean == pytest.approx((errors * posterior).sum() / posterior.sum(), abs=2e-3)
    inside = (errors > found.low) & (errors < found.high)
    assert posterior[inside].sum() / posterior.sum() == pytest.approx(0.95, abs=0.01)


def test_few_texts_on_which_patterns_agree_prove_little() -> None:
    """By hand for one text that they agree on: a share of .25, and a standard error of its logarithm of sqrt(3)."""
    errors = (np.arange(1_000_000) + 0.5) / 1_000_000 * 0.5
    prior = (1 + (np.log(errors / (1.46 * 0.25)) ** 2 / (0.12**2 + 3)) / 3) ** -2 / errors
    inside = errors > 1e-3 / 2
    expected = (errors * prior)[inside].sum() / prior[inside].sum()
    assert estimate_error(0.0, 2, texts=1).mean == pytest.approx(expected, abs=2e-3)
    assert estimate_error(0.0, 2, texts=1000).high > 20 * estimate_error(0.0, 2).high
    assert estimate_error(0.2, 2, texts=10**9).mean == pytest.approx(estimate_error(0.2, 2).mean, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.integers(2, 200), st.integers(0, 50), st.integers(0, 50))
def test_the_expected_error_is_between_none_and_chance_and_grows_with_disagreement_and_mistakes(
    share: float, labels: int, wrong: int, right: int
) -> None:
    error = estimate_error(share, labels, wrong, wrong + right)
    assert 0 < error.low <= error.mean + 1e-9
    assert error.mean <= error.high + 1e-9 <= 1 - 1 / labels + 2e-9
    assert estimate_error(min(1.0, share + 0.1), labels).mean >= estimate_error(share, labels).mean - 1e-9
    assert estimate_error(share, labels, wrong + 5, wrong + right + 5).mean >= error.mean - 1e-9


def test_the_factor_makes_the_mean_confidence_equal_to_the_accuracy() -> None:
    scores = np.random.default_rng(0).normal(size=(50, 3))
    for accuracy in (0.4, 0.7, 0.95):
        factor = inverse_temperature(scores, accuracy)
        assert softmax(factor * scores).max(axis=1).mean() == pytest.approx(accuracy, abs=1e-5)


def test_scores_that_no_temperature_makes_so_sure_stay_as_they_are() -> None:
    assert inverse_temperature(np.zeros((4, 2)), 0.9) == 1.0


def test_patterns_that_share_pseudo_labels_are_wrong_more_often_when_they_agree() -> None:
    alone, shared = (estimate_error(0.1, 4, ratio=ratio) for ratio in (ERRORS, SHARED_ERRORS))
    assert alone.mean == pytest.approx(0.146, abs=0.01) and shared.mean == pytest.approx(0.23, abs=0.015)
    assert (np.log(shared.high) - np.log(shared.low)) > (np.log(alone.high) - np.log(alone.low))
