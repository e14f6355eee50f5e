"""Labels that are kept with a guarantee."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pet.ensemble.selective import fewest_texts, select


def test_the_guarantee_holds_in_simulation() -> None:
    """A classifier that is far too sure: the mean share of wrong labels among those kept stays below the error."""
    generator = np.random.default_rng(0)
    shares = []
    for _ in range(400):
        confidence = generator.uniform(0.5, 1, 160)
        right = generator.random(160) < confidence**3
        chosen = select(confidence[:60], right[:60], confidence[60:], 0.1)
        kept = confidence[60:] >= chosen.confidence
        shares.append(float((~right[60:][kept]).mean()) if kept.any() else 0.0)
    assert 0.02 < np.mean(shares) < 0.1


def test_the_guarantee_is_about_what_another_rule_keeps_if_the_rule_is_part_of_the_selection() -> None:
    """Some texts fit no label, and the other rule leaves out half of them, but more of those whose labels are right."""
    generator = np.random.default_rng(1)
    together, afterwards = [], []
    for _ in range(400):
        confidence, foreign = generator.uniform(0.5, 1, 1200), generator.random(1200) < 0.05
        right = ~foreign & (generator.random(1200) < confidence**0.5)
        fits = generator.random(1200) < np.where(right, 0.3, 0.5)
        masked, old, new = np.where(fits, confidence, -np.inf), slice(200), slice(200, None)
        for scores, shares in ((masked, together), (confidence, afterwards)):
            chosen = select(scores[old], right[old], scores[new], 0.2)
            kept = fits[new] & (confidence[new] >= chosen.confidence)
            shares.append(float((~right[new][kept]).mean()) if kept.any() else 0.0)
    assert 0.02 < np.mean(together) <= 0.2 < np.mean(afterwards)


def test_texts_that_another_rule_leaves_out_are_never_kept() -> None:
    """All but one of four new texts are left out: (0 + 1) / 10 is at most .4 * 1 / 4, but not at most .3 * 1 / 4."""
    held_out, new = np.array([-np.inf, *[0.9] * 8]), np.array([0.5, -np.inf, -np.inf, -np.inf])
    right = held_out > 0
    assert select(held_out, right, new, 0.4).kept == 0.25
    assert select(held_out, right, new, 0.4).wrong == 0
    assert select(held_out, right, new, 0.3).kept == 0
    assert select(held_out, right, np.full(4, -np.inf), 0.9).kept == 0


def test_by_hand() -> None:
    """Nine held-out texts, one of them wrong at .6; ten new texts; an error of .4.

    From .7 up, (0 + 1) / 10 <= .4 * 3 / 10. From .5 up, (1 + 1) / 10 <= .4 * 5 / 10. From .4 up, all ten: .2 <= .4.
    With the error .1, .1 <= .1 * k / 10 needs all ten, but these have a wrong one: nothing is kept.
    """
    held_out, right = np.array([0.6, *[0.9] * 8]), np.array([False, *[True] * 8])
    new = np.array([0.4, 0.4, 0.4, 0.4, 0.4, 0.5, 0.5, 0.7, 0.8, 0.9])
    assert select(held_out, right, new, 0.4).confidence == 0.4
    assert select(held_out, right, new, 0.1).kept == 0
    chosen = select(held_out, right, new, 0.34)
    assert (chosen.confidence, chosen.kept, chosen.wrong) == (0.4, 1.0, 1)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 80), st.integers(1, 80), st.floats(0.01, 0.5), st.integers(0, 1000))
def test_what_is_kept_meets_the_condition_and_more_error_keeps_more(n: int, m: int, error: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    held_out, right, new = generator.random(n).round(1), generator.random(n) < 0.8, generator.random(m).round(1)
    chosen = select(held_out, right, new, error)
    kept = (new >= chosen.confidence).sum()
    assert chosen.kept == pytest.approx(kept / m)
    if kept:
        wrong = (~right & (held_out >= chosen.confidence)).sum()
        assert (wrong + 1) / (n + 1) <= error * kept / m + 1e-12
    assert select(held_out, right, new, min(0.9, error + 0.1)).kept >= chosen.kept


def test_so_many_right_texts_are_enough_and_one_less_is_not() -> None:
    for error in (0.05, 0.1, 0.3):
        count = fewest_texts(error)
        sure = np.ones(count)
        assert select(sure, sure > 0, np.ones(5), error).kept == 1
        assert select(sure[1:], sure[1:] > 0, np.ones(5), error).kept == 0
