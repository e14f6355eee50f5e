"""Few-shot draws are nested, balanced and repeatable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pet.data.sample import sample_shots
from pet.errors import PetError

N = 4
LABELS = st.lists(st.integers(0, N - 1), min_size=1, max_size=60).map(np.array)
SEEDS = st.integers(0, 2**63 - 1)


@given(LABELS, SEEDS, st.data())
def test_balanced_draws_are_nested_and_as_even_as_possible(labels: np.ndarray, seed: int, data: st.DataObject) -> None:
    larger = data.draw(st.integers(0, len(labels)))
    smaller = data.draw(st.integers(0, larger))
    rows = sample_shots(labels, N, examples=larger, seed=seed)
    assert len(set(rows.tolist())) == len(rows) == larger
    assert sample_shots(labels, N, examples=smaller, seed=seed).tolist() == rows[:smaller].tolist()
    drawn, there = np.bincount(labels[rows], minlength=N), np.bincount(labels, minlength=N)
    left = drawn[drawn < there]  # labels with rows left have at most one fewer than any other
    assert not len(left) or left.min() >= drawn.max() - 1


@given(LABELS, SEEDS, st.data())
def test_shots_are_drawn_of_every_label_and_nested(labels: np.ndarray, seed: int, data: st.DataObject) -> None:
    there = int(np.bincount(labels, minlength=N).min())
    shots = data.draw(st.integers(0, there))
    rows = sample_shots(labels, N, shots=shots, seed=seed)
    assert np.bincount(labels[rows], minlength=N).tolist() == [shots] * N
    whole = sample_shots(labels, N, shots=there, seed=seed)
    assert whole[: len(rows)].tolist() == rows.tolist()
    assert sample_shots(labels, N, examples=shots * N, seed=seed).tolist() == rows.tolist()


@given(LABELS, SEEDS, st.booleans())
def test_the_same_seed_draws_the_same_rows(labels: np.ndarray, seed: int, balanced: bool) -> None:
    draws = [sample_shots(labels, N, examples=len(labels) // 2, seed=seed, balanced=balanced) for _ in range(2)]
    assert draws[0].tolist() == draws[1].tolist()
    assert draws[0].dtype == np.int64


def test_different_seeds_draw_different_rows() -> None:
    labels = np.arange(400) % N
    for balanced in (True, False):
        draws = {tuple(sample_shots(labels, N, examples=20, seed=seed, balanced=balanced)) for seed in range(20)}
        assert len(draws) == 20


def test_ten_rows_over_four_labels_are_three_three_two_two() -> None:
    rows = sample_shots(np.arange(400) % N, N, examples=10, seed=0)
    assert np.bincount(np.arange(400)[rows] % N).tolist() == [3, 3, 2, 2]


def test_a_label_without_rows_left_is_skipped() -> None:
    labels = np.array([0] * 10 + [1] + [2] * 10)
    rows = sample_shots(labels, 3, examples=9, seed=3)
    assert np.bincount(labels[rows]).tolist() == [4, 1, 4]


def test_unbalanced_draws_keep_the_label_ratio_of_the_data() -> None:
    labels = np.array([0] * 9000 + [1] * 1000)
    rows = sample_shots(labels, 2, examples=2000, seed=0, balanced=False)
    assert 150 < (labels[rows] == 1).sum() < 250
    assert len(set(rows.tolist())) == 2000


@pytest.mark.parametrize("size", [{"shots": 0}, {"examples": 0}, {"examples": 0, "balanced": False}])
def test_zero_draws_no_rows(size: dict[str, Any]) -> None:
    assert sample_shots(np.array([0, 1, 0]), 2, seed=0, **size).tolist() == []
    assert sample_shots(np.array([], int), 2, seed=0, **size).tolist() == []


def test_the_draw_of_a_label_does_not_depend_on_other_labels() -> None:
    few, many = np.array([0] * 20), np.array([0] * 20 + [1] * 5)
    alone = sample_shots(few, 2, examples=5, seed=7)
    among = sample_shots(many, 2, examples=10, seed=7)
    assert among[many[among] == 0].tolist() == alone.tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shots": 3}, r"--shots 3: .*'b' has 2, label 'c' has 0.*--examples"),
        ({"examples": 6}, r"--examples 6: .*\b5 rows"),
        ({"examples": 6, "balanced": False}, r"--examples 6: .*\b5 rows"),
        ({"shots": -1}, "--shots -1: .*0 or more"),
        ({"examples": -1}, "--examples -1: .*0 or more"),
        ({"examples": 1, "seed": -1}, "--seed -1: .*0 or more"),
        ({"examples": 1, "shots": 1}, "--shots.*--examples"),
        ({}, "--shots.*--examples"),
    ],
)
def test_a_mistake_names_the_option_and_the_numbers(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PetError, match=message):
        sample_shots(np.array([0, 0, 0, 1, 1]), 3, names=["a", "b", "c"], **{"seed": 0, **options})


def test_label_numbers_outside_the_task_are_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        sample_shots(np.array([0, 2]), 2, examples=1, seed=0)
