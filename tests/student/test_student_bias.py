"""The last step of a student: it names no label clearly more or less often than its soft labels do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pet.numerics import sigmoid, softmax
from pet.student.bias import fitting_bias


def test_one_text_by_hand() -> None:
    # Scores 0 and soft label (1, 0): sigmoid(2 b) - 1 + b = 0, where b = .337416.
    np.testing.assert_allclose(fitting_bias(np.zeros((1, 2)), np.array([[1.0, 0.0]])), [0.337416, -0.337416], atol=1e-5)
    # One independent label that applies: sigmoid(b) - 1 + b = 0, where b = .401058.
    found = fitting_bias(np.zeros((1, 1)), np.ones((1, 1)), independent=True)
    np.testing.assert_allclose(found, [0.401058], atol=1e-5)


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.booleans())
def test_the_slope_of_the_penalized_cross_entropy_is_0(seed: int, labels: int, independent: bool) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(60, labels)) * generator.uniform(0.1, 6) + generator.normal(size=labels) * 2
    targets = generator.dirichlet(np.full(labels, 0.5), size=60)
    bias = fitting_bias(scores, targets, independent=independent)
    probability = sigmoid if independent else softmax
    slope = probability(scores + bias).sum(axis=0) - targets.sum(axis=0) + bias
    np.testing.assert_allclose(slope, 0, atol=1e-2)


def test_a_label_that_no_text_has_is_not_ruled_out() -> None:
    bias = fitting_bias(np.zeros((256, 3)), np.tile([0.5, 0.5, 0.0], (256, 1)))
    assert np.isfinite(bias).all() and bias[2] < bias[0] == pytest.approx(bias[1])
