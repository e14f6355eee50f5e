"""Metrics for labels in an order, such as one to five stars."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def ordered_metrics(confusion: ArrayLike) -> dict[str, float]:
    """Measure how far predictions are from the gold labels.

    Parameters
    ----------
    confusion : int array or list of lists of shape (L, L); rows are gold labels, columns predicted ones

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
    counts = np.asarray(confusion, dtype=np.float64)
    steps = np.arange(len(counts))
    distance = np.abs(steps[:, None] - steps[None, :])
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    worst = (distance**2 * expected).sum()
    return {
        "qwk": float(1 - (distance**2 * counts).sum() / worst) if worst else 0.0,
        "mae": float((distance * counts).sum() / counts.sum()),
    }
