"""How the learning rate rises and falls over a training of so many steps, or so many minutes."""

from __future__ import annotations


def progress(step: int, steps: int | None, seconds: float, limit: float | None) -> float:
    """How much of the training is behind, from 0 to 1: by steps or by time, whichever is further.

    Raises
    ------
    ValueError
        If neither limit is given.
    """
    parts = []
    if steps is not None:
        parts.append(step / max(steps, 1))
    if limit is not None:
        parts.append(seconds / limit if limit > 0 else 1.0)
    if not parts:
        raise ValueError("training needs an end: steps or seconds")
    return min(1.0, max(parts))


def factor(done: float, warmup: float, floor: float = 0.0) -> float:
    """Linear rise over the first `warmup` of the training, then linear fall to `floor`."""
    if done < warmup:
        return max(done / warmup, 0.01)  # the very first step is not wasted
    return floor + (1.0 - floor) * max(0.0, (1.0 - done) / max(1.0 - warmup, 1e-9))
