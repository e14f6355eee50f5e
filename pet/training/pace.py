"""Training that ends after a number of steps or after some time, whichever comes first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """Where a training ends.

    Attributes
    ----------
    steps, seconds : the limits; at least one is given
    warmup : fraction of the training during which the learning rate rises
    """

    steps: int | None = None
    seconds: float | None = None
    warmup: float = 0.0

    def done(self, step: int, seconds: float) -> float:
        """Return how much of the training is done, from 0 to 1: by steps or by time, whichever is more.

        Examples
        --------
        >>> Pace(steps=10, seconds=100.0).done(5, 90.0)
        0.9
        """
        by_steps = 0.0 if self.steps is None else step / self.steps
        by_time = 0.0 if self.seconds is None else seconds / self.seconds
        return min(1.0, max(by_steps, by_time))

    def rate_factor(self, done: float, floor: float = 0.0) -> float:
        """Return the fraction of the peak learning rate: a linear rise, then a linear fall to `floor`."""
        if done < self.warmup:
            return max(done / self.warmup, 0.01)  # the first update is not wasted
        return floor + (1.0 - floor) * max(0.0, (1.0 - done) / max(1.0 - self.warmup, 1e-9))
