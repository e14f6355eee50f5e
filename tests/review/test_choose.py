"""Which texts to label next."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pet.review.choose import choose, divergence, margin_doubt


def test_divergence_by_hand() -> None:
    """Members with probabilities (.9, .1) and (.3, .7), weights 3 and 1: H(.75, .25) - .75 H(.9) - .25 H(.3)."""
    scores = [np.log([[0.9, 0.1]]), np.log([[0.3, 0.7]])]
    assert divergence(scores, np.array([3.0, 1.0])) == pytest.approx(
        [0.562335 - 0.75 * 0.325083 - 0.25 * 0.610864], abs=1e-6
    )


def test_members_that_abstain_do_not_count() -> None:
    first, second = np.array([[5.0, 0.0], [5.0, 0.0]]), np.array([[0.0, 5.0], [np.nan, np.nan]])
    doubt = divergence([first, second], np.ones(2))
    assert doubt[0] > 0.5
    assert doubt[1] == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 60), st.integers(1, 30), st.integers(0, 1000))
def test_as_many_texts_as_there_are_each_once(rows: int, count: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(rows, 3)).round()  # some are equal
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    chosen = choose(generator.random(rows), vectors, count, seed)
    assert len(chosen) == len(set(chosen.tolist())) == min(rows, count)
    assert set(chosen.tolist()) <= set(range(rows))


def test_every_place_is_asked_about() -> None:
    """Ninety doubtful texts in one place do not crowd out the others."""
    place = np.repeat([0, 1, 2], [90, 5, 5])
    doubt = np.where(place == 0, 0.9, 0.1) + np.linspace(0, 0.01, 100)
    chosen = choose(doubt, np.eye(3)[place], 3)
    assert sorted(place[chosen].tolist()) == [0, 1, 2]
    assert place[chosen[0]] == 0


def test_texts_that_say_the_same_are_not_chosen_twice() -> None:
    vectors = np.array([[1.0, 0.0]] * 5 + [[0.6, 0.8], [0.0, 1.0]])
    doubt = np.array([0.9, 0.9, 0.9, 0.9, 0.9, 0.2, 0.2])
    assert sorted(choose(doubt, vectors, 3).tolist())[1:] == [5, 6]


def test_more_texts_are_chosen_where_labels_are_unsure_and_none_at_the_edge() -> None:
    """Two clouds of equal size on a circle; only the labels of the first are unsure."""
    angles = np.concatenate([np.linspace(0, 1, 60), np.linspace(2.5, 3.5, 60)])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    chosen = choose(np.repeat([0.9, 0.0], 60), vectors, 12)
    assert (chosen < 60).sum() > 7 > 12 - (chosen < 60).sum() > 0
    assert not {0, 59, 60, 119} & set(chosen.tolist())


def test_places_that_were_chosen_before_come_last() -> None:
    vectors = np.repeat(np.eye(4), 5, axis=0)
    chosen = choose(np.full(20, 0.5), vectors, 2, known=np.eye(4)[:2])
    assert sorted((chosen // 5).tolist()) == [2, 3]


def test_the_margin_is_that_of_the_two_most_probable_labels() -> None:
    assert margin_doubt(np.array([[0.6, 0.3, 0.1], [1.0, 0.0, 0.0]])) == pytest.approx([0.7, 0.0])
    assert margin_doubt(np.ones((2, 1))).tolist() == [0, 0]
