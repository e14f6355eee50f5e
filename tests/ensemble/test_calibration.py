"""How often merged labels are wrong, and the temperature that says so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pet.ensemble.calibration import (
    ERRORS,
    SHARED_ERRORS,
    disagreement,
    estimate_error,
    inverse_temperature,
    mean_confidence,
)
from pet.numerics import softmax


def test_disagreement_is_the_mean_over_pairs_and_texts() -> None:
    """Texts 1 and 2: all agree; text 3: 2 of 3 pairs disagree; text 4: all 3 pairs disagree."""
    labels = [np.array([0, 1, 0, 0]), np.array([0, 1, 0, 1]), np.array([0, 1, 1, 2])]
    assert disagreement(labels, patterns=[0, 1, 2]) == pytest.approx((0 + 0 + 2 + 3) / 12)


def test_repetitions_of_a_pattern_are_no_pairs() -> None:
    """Repetitions agree on everything; of the four pairs of different patterns, all disagree on one of two texts."""
    labels = [np.array([0, 1]), np.array([0, 1]), np.array([0, 2]), np.array([0, 2])]
    assert disagreement(labels, patterns=[0, 0, 1, 1]) == 0.5


def test_the_expected_error_is_the_posterior_median_on_a_fine_grid() -> None:
    """A disagreement of .2 and 10 wrong of 40, ten of each label: integrate the posterior over a rectangle.

    Left-out texts have more errors: the logarithm is .221 higher, with a standard deviation of 1.4 / sqrt(10) = .443.
    """
    errors = (np.arange(5000) + 0.5) / 5000 * 0.75
    prior = (1 + (np.log(errors / (1.46 * 0.2)) / 0.3) ** 2 / 3) ** -2 / errors
    more = np.linspace(-5, 5, 401)
    left_out = np.minimum(errors[:, None] * np.exp(0.2214 + 0.4427 * more), 0.75)
    posterior = prior * (left_out**10 * (1 - left_out) ** 30 @ np.exp(-(more**2) / 2))
    found = estimate_error(0.2, 4, wrong=10, judged=40)
    below = [posterior[errors < end].sum() / posterior.sum() for end in (found.low, found.median, found.high)]
    assert below == pytest.approx([0.025, 0.5, 0.975], abs=0.01)


def test_left_out_texts_of_few_per_label_say_less_than_many() -> None:
    """Half as many errors as the patterns' disagreement suggests, with 1 and 100 texts of each label."""
    few, many = (estimate_error(0.2, 2, wrong=round(0.146 * n), judged=n) for n in (2, 200))
    assert estimate_error(0.2, 2).median > few.median > many.median
    assert few.high - few.low > 2 * (many.high - many.low)
    assert many.low < 0.146 < many.high


def test_few_texts_on_which_patterns_agree_prove_little() -> None:
    """By hand for one text that they agree on: a share of .25, and a standard error of its logarithm of sqrt(3)."""
    errors = (np.arange(1_000_000) + 0.5) / 1_000_000 * 0.5
    prior = (1 + (np.log(errors / (1.46 * 0.25)) ** 2 / (0.3**2 + 3)) / 3) ** -2 / errors
    prior *= errors > 1e-3 / 2
    found = estimate_error(0.0, 2, texts=1)
    assert prior[errors < found.median].sum() / prior.sum() == pytest.approx(0.5, abs=5e-3)
    assert estimate_error(0.0, 2, texts=1000).high > 20 * estimate_error(0.0, 2).high
    assert estimate_error(0.2, 2, texts=10**9).median == pytest.approx(estimate_error(0.2, 2).median, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.integers(2, 200), st.integers(0, 50), st.integers(0, 50))
@example(0.171875, 9, 20, 22)  # the evidence is narrower than a coarse grid
def test_the_expected_error_is_between_none_and_chance_and_grows_with_disagreement_and_mistakes(
    share: float, labels: int, wrong: int, right: int
) -> None:
    error = estimate_error(share, labels, wrong, wrong + right)
    assert 0 < error.low <= error.median + 1e-9
    assert error.median <= error.high + 1e-9 <= 1 - 1 / labels + 2e-9
    assert estimate_error(min(1.0, share + 0.1), labels).median >= estimate_error(share, labels).median - 1e-9
    better, worse = (estimate_error(share, labels, wrong + more, wrong + right + 5) for more in (0, 5))
    assert worse.median >= better.median - 1e-9


@pytest.mark.parametrize("accuracy", [0.4, 0.7, 0.95])
def test_the_factor_makes_the_mean_confidence_equal_to_the_accuracy(accuracy: float) -> None:
    scores = np.random.default_rng(0).normal(size=(50, 3))
    factor = inverse_temperature(lambda factor: mean_confidence(factor * scores) - accuracy)
    assert softmax(factor * scores).max(axis=1).mean() == pytest.approx(accuracy, abs=1e-5)


def test_scores_that_no_temperature_makes_so_sure_stay_as_they_are() -> None:
    assert inverse_temperature(lambda factor: mean_confidence(factor * np.zeros((4, 2))) - 0.9) == 1.0


def test_patterns_that_share_pseudo_labels_are_wrong_more_often_when_they_agree() -> None:
    alone, shared = (estimate_error(0.1, 4, ratio=ratio) for ratio in (ERRORS, SHARED_ERRORS))
    assert (alone.median, shared.median) == pytest.approx((0.146, 0.24), abs=0.005)
