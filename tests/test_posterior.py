"""Draws of what each label has of all texts."""

from __future__ import annotations

import numpy as np
import pytest

from pet.confusion import Confusion
from pet.posterior import confusion_draws, sums_by_label


def _draws(matrix: list[list[int]], draws: int = 4000, most: int = 10**6) -> np.ndarray:
    parts = [np.stack(own) for own in confusion_draws(Confusion.read(matrix), draws, most)]
    return np.concatenate(parts, axis=1)


def test_the_draws_of_many_texts_are_around_their_shares():
    matrix = np.array([[800, 100, 100], [0, 1900, 100], [50, 50, 900]])
    hits, support, claimed = _draws(matrix.tolist())
    n = matrix.sum()
    for own, expected in ((hits, np.diag(matrix)), (support, matrix.sum(axis=1)), (claimed, matrix.sum(axis=0))):
        assert own.mean(axis=0) == pytest.approx(expected / n, abs=0.003)
        assert own.std(axis=0) == pytest.approx(np.sqrt(expected / n * (1 - expected / n) / n), rel=0.2)
    assert (hits <= support + 1e-12).all() and (hits <= claimed + 1e-12).all()


def test_labels_inform_each_other():
    """A label with two texts, one of them right, among labels that are nearly always right, and among poor ones."""
    shares = []
    for right in (19, 10):
        matrix = np.diag([right] * 8 + [1])
        for label in range(8):
            matrix[label, (label + 1) % 8] = 20 - right
        matrix[8, 0] = 1
        hits, support, _ = _draws(matrix.tolist())
        shares.append((hits / support)[:, 8].mean())
    assert shares[0] > 0.75 and 0.4 < shares[1] < 0.6


def test_errors_of_two_labels_go_to_the_other_one():
    hits, support, claimed = _draws([[3, 2], [0, 5]])
    assert claimed[:, 1] - hits[:, 1] == pytest.approx(support[:, 0] - hits[:, 0])


def test_memory_is_bounded_and_draws_repeat_exactly():
    matrix = np.diag(range(1, 9)).tolist()
    chunks = list(confusion_draws(Confusion.read(matrix), 50, 240))
    assert [len(hits) for hits, _, _ in chunks] == [10] * 5  # 3 numbers for each of 8 labels
    assert np.array_equal(_draws(matrix, 50, 240), np.concatenate([np.stack(own) for own in chunks], axis=1))


def test_sums_of_labels_without_cells_are_zero():
    assert sums_by_label(np.zeros(0, dtype=np.int64), np.zeros((2, 0)), 3).tolist() == [[0, 0, 0]] * 2
