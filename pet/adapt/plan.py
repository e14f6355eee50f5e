"""Sizes and schedule of a training that ends after steps, passes over the text, or minutes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.adapt.settings import TrainingSettings
from pet.training.pace import Pace

Array = NDArray[Any]
_ORDER = 3  # second part of the seed


@dataclass(frozen=True)
class Plan:
    """Sizes of a training.

    Attributes
    ----------
    rows : sequences per update, over all processes
    pieces : micro-batches per update, over all processes
    pace : where training ends
    """

    rows: int
    pieces: int
    pace: Pace

    @classmethod
    def of(cls, settings: TrainingSettings, count: int, length: int, processes: int = 1) -> Plan:
        """Return the plan for `count` sequences of `length` tokens.

        Examples
        --------
        >>> plan = Plan.of(TrainingSettings(batch_tokens=1024, micro_tokens=256), count=100, length=64)
        >>> plan.rows, plan.pieces, plan.pace.steps
        (16, 4, 7)
        """
        share = math.ceil(max(1, settings.batch_tokens // length) / processes)  # sequences per process
        pieces = math.ceil(share / settings.sequences_at_once(length))
        steps, epochs = settings.max_steps, settings.epochs
        if epochs is None and steps is None and settings.max_minutes is None:
            epochs = 1.0
        if epochs is not None:
            by_text = max(1, math.ceil(epochs * count / (share * processes)))
            steps = by_text if steps is None else min(steps, by_text)
        seconds = None if settings.max_minutes is None else settings.max_minutes * 60.0
        return cls(share * processes, pieces * processes, Pace(steps, seconds, settings.warmup))


def rows_of_step(step: int, rows: int, count: int, seed: int) -> Array:
    """Return the sequences of an update, shape (rows,); each pass over the text has its own order."""
    places = np.arange(step * rows, (step + 1) * rows)
    orders = {
        epoch: np.random.default_rng([seed, _ORDER, int(epoch)]).permutation(count)
        for epoch in np.unique(places // count)
    }
    return np.array([orders[place // count][place % count] for place in places])
