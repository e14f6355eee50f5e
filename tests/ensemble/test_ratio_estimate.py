"""The estimated shares of the labels in a pool: their intervals hold as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from pet.ensemble.ratio_estimate import estimate_ratio, mean_ratio
from pet.numerics import log_softmax, softmax

SHARES = np.array([0.5, 0.3, 0.15, 0.05])


def scores(gold: np.ndarray, signal: float, sure: float, bias: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    """Scores of a biased, overconfident classifier: with a signal of 1.6 to 2, 70 to 80% are right; with 4, 99%."""
    noise = dice.normal(size=(len(gold), len(SHARES)))
    noise[np.arange(len(gold)), gold] += signal
    return sure * noise + bias


@pytest.mark.parametrize(("signals", "sure"), [((2.0, 1.6), 2.0), ((4.0, 4.0), 10.0)])
@pytest.mark.parametrize("as_drawn", [False, True])
def test_intervals_hold_the_actual_shares_of_a_skewed_pool(
    as_drawn: bool, signals: tuple[float, float], sure: float
) -> None:
    """From 32 labeled texts, balanced or drawn at random, and two classifiers, even if these make no mistake there."""
    dice, held = np.random.default_rng(0), []
    for _ in range(60):
        gold = dice.choice(4, 32, p=SHARES) if as_drawn else np.arange(32) % 4
        pool = dice.choice(4, 400, p=SHARES)
        found = []
        for signal in signals:
            bias = dice.normal(size=4) / 2
            train, own = (scores(labels, signal, sure, bias, dice) for labels in (gold, pool))
            found.append(estimate_ratio(log_softmax(train), gold, softmax(own), as_drawn=as_drawn))
        actual, ratio = np.bincount(pool, minlength=4) / len(pool), mean_ratio(found)
        held.append((ratio.low <= actual) & (actual <= ratio.high))
    assert np.mean(held) > 0.93
    assert np.mean(held, axis=0).min() > 0.87


def test_an_estimate_without_evidence_is_as_wide_as_what_is_known() -> None:
    """Three labels, and labeled texts drawn at random: by hand, (counts + 1) / (n + 3)."""
    gold = np.array([0, 0, 0, 0, 1, 1])
    nothing = np.full((6, 3), np.nan)
    ratio = estimate_ratio(nothing, gold, np.full((50, 3), 1 / 3), as_drawn=True)
    assert ratio.shares == pytest.approx([5 / 9, 3 / 9, 1 / 9])
    assert (ratio.low >= 0).all() and (ratio.high <= 1).all() and ratio.high[2] > 0.25
