"""Metrics for labels in an order, such as one to five stars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pet.confusion import Confusion


def ordered_metrics(confusion: Confusion | Mapping[str, Any] | ArrayLike) -> dict[str, float]:
    """Measure how far predictions are from the gold labels.

    Parameters
    ----------
    confusion : int array or list of lists of shape (L, L); rows are gold labels, columns predicted ones; or what
        `pet.confusion.Confusion` wrote

    Returns
    -------
    dict
        - ``qwk``: quadratic weighted kappa (Cohen 1968); 1 if all are right, 0 at chance or if undefined
        - ``mae``: mean distance between predicted and gold label, in steps

    Examples
    --------
    >>> metrics = ordered_metrics(np.array([[1, 1, 0], [0, 2, 0], [1, 0, 1]]))
    >>> round(metrics["qwk"], 6), metrics["mae"]
    (0.285714, 0.5)
    """
    counts = Confusion.read(confusion)
    steps, n = np.arange(counts.labels, dtype=np.float64), float(counts.count.sum())
    squares = (steps[:, None] - steps[None, :]) ** 2
    worst = float(counts.support @ squares @ counts.claimed) / n
    distance = np.abs(counts.gold - counts.predicted)
    return {
        "qwk": float(1 - (distance**2 * counts.count).sum() / worst) if worst else 0.0,
        "mae": float((distance * counts.count).sum() / n),
    }
