"""Merging the members' scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pet.ensemble.combine import Ensemble, merge_scores, prior_correction
from pet.ensemble.rules import RULES, accuracy_weights, uniform_weights
from pet.ensemble.scale import Scale
from pet.errors import PetError
from pet.numerics import softmax

FIRST = np.array([[2.0, 0.0], [0.0, 1.0]])
SECOND = np.array([[-1.0, 1.0], [4.0, 0.0]])


def test_merged_scores_and_their_softmax():
    merged = merge_scores([FIRST, SECOND], np.array([0.75, 0.25]))
    np.testing.assert_allclose(merged, [[1.25, 0.25], [1.0, 0.75]], atol=1e-12)
    expected = [[0.731059, 0.268941], [0.562177, 0.437823]]
    np.testing.assert_allclose(softmax(merged), expected, atol=5e-7)


def test_a_mean_of_probabilities_would_flip_the_second_row():
    weights = np.array([0.75, 0.25])
    mean = 0.75 * softmax(FIRST) + 0.25 * softmax(SECOND)
    assert mean[1].argmax() != merge_scores([FIRST, SECOND], weights)[1].argmax()


def test_weights_need_not_add_up_to_one():
    merged = merge_scores([FIRST, SECOND], np.array([3.0, 1.0]))
    np.testing.assert_allclose(merged, [[1.25, 0.25], [1.0, 0.75]], atol=1e-12)


def test_float32_scores_are_merged_in_float64():
    scores = [np.full((1, 2), 0.1, dtype=np.float32)] * 3
    merged = merge_scores(scores, np.ones(3))
    assert merged.dtype == np.float64
    np.testing.assert_allclose(merged, float(np.float32(0.1)), rtol=1e-15)


scores_of_members = st.integers(1, 6).flatmap(
    lambda members: arrays.arrays(
        np.float32, (members, 3, 4), elements=st.floats(-30, 30, width=32, allow_subnormal=False)
    )
)


@given(scores_of_members, st.randoms(use_true_random=False))
def test_the_order_of_the_members_does_not_matter_to_the_last_bit(scores, random):
    accuracies = np.array([random.random() for _ in scores])
    order = np.array(random.sample(range(len(scores)), len(scores)))
    merged = merge_scores(list(scores), accuracy_weights(list(accuracies)))
    again = merge_scores(list(scores[order]), accuracy_weights(list(accuracies[order])))
    assert merged.tobytes() == again.tobytes()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.sampled_from(sorted(RULES)))
def test_weights_add_up_to_one(accuracies, merge):
    weights = RULES[merge].weigh(accuracies)
    assert weights.shape == (len(accuracies),)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)


def test_weights_are_in_the_ratio_of_the_accuracies():
    np.testing.assert_allclose(accuracy_weights([0.5, 0.25, 0.0]), [2 / 3, 1 / 3, 0])


@pytest.mark.parametrize("accuracies", [[0.0, 0.0, 0.0, 0.0], [None] * 4])
def test_no_accuracies_or_only_zeros_weigh_all_alike(accuracies):
    np.testing.assert_array_equal(accuracy_weights(accuracies), [0.25] * 4)


def test_uniform_does_not_look_at_accuracies():
    np.testing.assert_array_equal(uniform_weights([0.9, 0.1]), [0.5, 0.5])


def test_an_ensemble_of_nobody_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        uniform_weights([])


@given(arrays.arrays(np.float64, (3, 5), elements=st.floats(-700, 700)), st.floats(0.1, 10))
def test_softmax_gives_probabilities_for_any_scores(scores, temperature):
    probabilities = softmax(scores, temperature)
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    # the highest score has the highest probability
    np.testing.assert_array_equal(probabilities[np.arange(3), scores.argmax(axis=1)], probabilities.max(axis=1))


def test_softmax_with_temperature():
    np.testing.assert_allclose(softmax(np.array([0.0, 2 * np.log(3)]), 2), [0.25, 0.75])
    np.testing.assert_allclose(softmax(np.array([1e6, 0.0])), [1, 0])


def test_prior_correction_by_hand() -> None:
    # One row, two labels: softmax((1 + b, 0 - b)) = (1/2, 1/2) needs b = -1/2.
    np.testing.assert_allclose(prior_correction(np.array([[1.0, 0.0]]), np.array([0.5, 0.5])), [-0.5, 0.5], atol=1e-5)
    # To (.8, .2): the difference of the scores must become ln 4, so b = (ln 4 - 1) / 2 for the first.
    expected = (np.log(4) - 1) / 2
    np.testing.assert_allclose(
        prior_correction(np.array([[1.0, 0.0]]), np.array([0.8, 0.2])), [expected, -expected], atol=1e-5
    )


def test_prior_correction_of_a_label_without_any_probability() -> None:
    scores = np.array([[3e38, -3e38], [0.0, -5000.0]])
    assert np.isfinite(prior_correction(scores, np.array([0.5, 0.5]))).all()


@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_prior_correction_reaches_the_ratio_and_keeps_a_ratio_that_is_right(seed: int, labels: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(50, labels)) * 2 + generator.normal(size=labels)
    target = generator.dirichlet(np.full(labels, 5.0))
    bias = prior_correction(scores, target)
    np.testing.assert_allclose(softmax(scores + bias).mean(axis=0), target, atol=1e-4)
    np.testing.assert_allclose(prior_correction(scores + bias, target), 0, atol=1e-3)


def test_a_member_of_unknown_accuracy_weighs_as_much_as_the_others_on_average() -> None:
    np.testing.assert_allclose(accuracy_weights([0.6, None, 0.2]), [0.5, 1 / 3, 1 / 6])


# ---- abstaining --------------------------------------------------------------------------------

NOTHING = np.full((2, 2), np.nan)


def test_a_member_that_abstains_leaves_the_row_to_the_others() -> None:
    third = SECOND.copy()
    third[0] = np.nan
    soft = Ensemble.of(["a", "b"], labels=2, weights=[0.75, 0.25]).combine([FIRST, third])
    np.testing.assert_allclose(soft.probabilities, softmax(np.array([[2.0, 0.0], [1.0, 0.75]])))
    assert soft.votes.tolist() == [[0, -1], [1, 0]]
    # Row 1: one voter, and it agrees. Row 2: merged label 0, and one of two voters chose it.
    np.testing.assert_allclose(soft.agreement, [1.0, 0.5])


def test_a_row_without_any_scores_is_uniform_and_agrees_with_nobody() -> None:
    soft = Ensemble.of(["a", "b"], labels=2).combine([NOTHING, NOTHING])
    np.testing.assert_allclose(soft.probabilities, 0.5)
    assert soft.votes.tolist() == [[-1, -1], [-1, -1]]
    assert soft.agreement.tolist() == [0.0, 0.0]


@given(scores_of_members)
def test_a_member_that_abstains_everywhere_changes_nothing(scores) -> None:
    names = [str(number) for number in range(len(scores))]
    alone = Ensemble.of(names, labels=4).combine(list(scores))
    absent = np.full(scores.shape[1:], np.nan)
    together = Ensemble.of([*names, "absent"], labels=4).combine([*scores, absent])
    np.testing.assert_allclose(together.probabilities, alone.probabilities, rtol=1e-12)


# ---- scales ------------------------------------------------------------------------------------


def test_logits_become_log_probabilities_beside_log_probabilities() -> None:
    logits, logs = np.array([[3.0, 1.0]]), np.log([[0.2, 0.8]])
    ensemble = Ensemble.of(["model", "outside"], labels=2, scales=[Scale.LOGITS, Scale.LOG_PROBABILITIES])
    # By hand: log softmax(3, 1) = (-0.126928, -2.126928), log(.2, .8) = (-1.609438, -0.223144); their mean is
    # (-0.868183, -1.175036), and its softmax (.576117, .423883).
    np.testing.assert_allclose(ensemble.merge([logits, logs]), [[-0.868183, -1.175036]], atol=1e-6)
    np.testing.assert_allclose(ensemble.combine([logits, logs]).probabilities, [[0.576117, 0.423883]], atol=1e-6)


@given(scores_of_members, st.floats(-5, 5))
def test_a_constant_added_to_a_row_of_logits_does_not_matter_beside_log_probabilities(scores, constant) -> None:
    names = [str(number) for number in range(len(scores) + 1)]
    outside = np.log(np.full(scores.shape[1:], 0.25))
    scales = [*[Scale.LOGITS] * len(scores), Scale.LOG_PROBABILITIES]
    ensemble = Ensemble.of(names, labels=4, scales=scales)
    plain = ensemble.combine([*scores, outside]).probabilities
    moved = ensemble.combine([*(scores.astype(np.float64) + constant), outside]).probabilities
    np.testing.assert_allclose(moved, plain, atol=1e-9)


def test_an_ensemble_survives_a_manifest() -> None:
    ensemble = Ensemble.weighted(
        ["a", "b"], [0.6, 0.2], labels=2, scales=[Scale.LOGITS, Scale.LOG_PROBABILITIES]
    ).corrected([FIRST, np.log([[0.5, 0.5], [0.9, 0.1]])], np.array([0.3, 0.7]))
    again = Ensemble.from_dict(ensemble.to_dict(), 2)
    assert again.names == ensemble.names and again.scales == ensemble.scales and again.rule == ensemble.rule
    np.testing.assert_array_equal(again.weights, ensemble.weights)
    np.testing.assert_array_equal(again.bias, ensemble.bias)
    with pytest.raises(PetError, match="all of them are 0"):  # the merged probabilities would not be numbers
        Ensemble.from_dict(ensemble.to_dict() | {"weights": [0, 0]}, 2)


def test_scores_of_the_wrong_number_of_members_are_refused() -> None:
    with pytest.raises(ValueError, match="2 members"):
        Ensemble.of(["a", "b"], labels=2).combine([FIRST])
