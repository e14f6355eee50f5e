"""Training that ends by steps or by time."""

from __future__ import annotations

import pytest

from pet.training.pace import Pace


def test_training_is_done_when_the_nearer_limit_is_reached():
    assert Pace(steps=10).done(5, 0.0) == 0.5
    assert Pace(steps=10, seconds=100.0).done(5, 90.0) == 0.9
    assert Pace(steps=10, seconds=100.0).done(5, 20.0) == 0.5
    assert Pace(seconds=100.0).done(500, 200.0) == 1.0


def test_the_rate_rises_over_the_warm_up_and_falls_to_the_floor():
    pace = Pace(steps=10, warmup=0.1)
    factors = [pace.rate_factor(done) for done in (0.0, 0.05, 0.1, 0.55, 1.0)]
    assert factors == pytest.approx([0.01, 0.5, 1.0, 0.5, 0.0])
    assert Pace(steps=10).rate_factor(0.0) == 1.0
    assert pace.rate_factor(0.55, floor=1.0) == 1.0
