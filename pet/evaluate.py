"""Classification metrics from probabilities and gold labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pet.confusion import Confusion
from pet.errors import PetError
from pet.groups import Groups, group_metrics
from pet.statistics import metric_intervals

BINS = 15


def evaluate(
    probabilities: ArrayLike, gold: ArrayLike, labels: Sequence[str], groups: Groups | None = None
) -> dict[str, Any]:
    """Measure predictions against gold labels.

    Parameters
    ----------
    probabilities : array of shape (n, L)
        One row per example, one column per label in task order. Ties go to the first label.
    gold : int array of shape (n,)
        Index of the correct label.
    labels : sequence of L str
    groups : Groups, optional
        Texts that are judged together; adds the metrics of `pet.groups.group_metrics`.

    Returns
    -------
    dict of plain Python values
        - ``n``: number of examples
        - ``accuracy``
        - ``macro_f1``: mean F1 over all labels of the task; an undefined F1 counts as 0
        - ``mcc``: multiclass Matthews correlation (Gorodkin 2004); 0 if undefined
        - ``accuracy_interval``, ``macro_f1_interval``, ``mcc_interval``: 95% intervals; see `pet.statistics`
        - ``ece``: expected calibration error over 15 equal-width bins (Guo et al. 2017)
        - ``per_class``: label -> ``precision``, ``recall``, ``f1``, ``support``
        - ``confusion``: one row per gold label and one column per predicted label; see `pet.confusion`
        - ``calibration``: for each bin ``lower`` (exclusive), ``upper`` (inclusive), ``n``, and the mean
          ``confidence`` and ``accuracy`` (None if the bin is empty)

    Raises
    ------
    PetError
        If there are no examples.
    ValueError
        If the shapes do not match or values are not probabilities.

    Examples
    --------
    >>> metrics = evaluate([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], [0, 1, 1], ["bad", "good"])
    >>> round(metrics["accuracy"], 3), metrics["confusion"]
    (0.667, [[1, 0], [1, 1]])
    """
    scores, right = np.asarray(probabilities, dtype=np.float64), np.asarray(gold)
    _check(scores, right, labels)
    predicted = scores.argmax(axis=1)
    confusion = Confusion.of(right, predicted, len(labels))
    per_class = _per_class(confusion)
    calibration = _calibration(scores.max(axis=1), predicted == right)
    return {
        "n": len(right),
        "accuracy": float(confusion.hits.sum() / len(right)),
        "macro_f1": float(np.mean([row["f1"] for row in per_class])),
        "mcc": _mcc(confusion),
        **metric_intervals(confusion),
        **({} if groups is None else group_metrics(scores, right, groups)),
        "ece": _ece(calibration),
        "per_class": dict(zip(labels, per_class, strict=True)),
        "confusion": confusion.to_json(),
        "calibration": calibration,
    }


def _check(scores: NDArray[np.float64], gold: NDArray[Any], labels: Sequence[str]) -> None:
    if scores.size == 0 and gold.size == 0:
        raise PetError("nothing to evaluate: the data has no labeled examples")
    if scores.ndim != 2 or scores.shape[1] != len(labels) or gold.shape != scores.shape[:1]:
        raise ValueError(
            f"probabilities have shape {scores.shape} and gold {gold.shape}: expected [n, {len(labels)}] and [n]"
        )
    if len(set(labels)) != len(labels):
        raise ValueError("two labels have the same name")
    if not np.issubdtype(gold.dtype, np.integer) or gold.min() < 0 or gold.max() >= len(labels):
        raise ValueError(f"gold must hold integers from 0 to {len(labels) - 1}")
    # The tolerance allows for half precision; NaN fails both comparisons.
    if not (scores.min() >= -1e-6 and scores.max() <= 1.01):
        raise ValueError("probabilities must be between 0 and 1")


def _per_class(confusion: Confusion) -> list[dict[str, float | int]]:
    rows: list[dict[str, float | int]] = []
    columns = (confusion.hits.tolist(), confusion.support.tolist(), confusion.claimed.tolist())
    for hits, support, claimed in zip(*columns, strict=True):
        rows.append(
            {
                "precision": hits / claimed if claimed else 0.0,
                "recall": hits / support if support else 0.0,
                "f1": 2 * hits / (support + claimed) if support + claimed else 0.0,
                "support": support,
            }
        )
    return rows


def _mcc(confusion: Confusion) -> float:
    n, hits = float(confusion.count.sum()), float(confusion.hits.sum())
    support, claimed = confusion.support.astype(np.float64), confusion.claimed.astype(np.float64)
    spread = (n**2 - claimed @ claimed) * (n**2 - support @ support)
    return float((hits * n - support @ claimed) / np.sqrt(spread)) if spread > 0 else 0.0


def _calibration(confidence: NDArray[np.float64], hit: NDArray[np.bool_]) -> list[dict[str, Any]]:
    upper = np.arange(1, BINS + 1) / BINS
    # A confidence on an edge belongs to the bin below it; one slightly above 1, to the last bin.
    bins = np.minimum(np.searchsorted(upper, confidence, side="left"), BINS - 1)
    rows = []
    for index in range(BINS):
        inside = bins == index
        count = int(inside.sum())
        rows.append(
            {
                "lower": float(index / BINS),
                "upper": float(upper[index]),
                "n": count,
                "confidence": float(confidence[inside].mean()) if count else None,
                "accuracy": float(hit[inside].mean()) if count else None,
            }
        )
    return rows


def chance_ece(calibration: Sequence[Mapping[str, Any]]) -> float:
    """Return the calibration error that chance alone gives a classifier whose confidences are true.

    With few texts it is not 0: of n texts with confidence c, the number of right ones is n c only on average. Its mean
    absolute deviation is ``2 m C(n, m) c^m (1 - c)^(n - m + 1)`` with ``m = floor(n c) + 1`` (de Moivre 1730; Diaconis
    and Zabell 1991).

    Parameters
    ----------
    calibration : the bins, as from `evaluate`

    Examples
    --------
    >>> metrics = evaluate([[0.8, 0.2]] * 100, [0] * 80 + [1] * 20, ["bad", "good"])
    >>> round(metrics["ece"], 3), round(chance_ece(metrics["calibration"]), 3)
    (0.0, 0.032)
    """
    total = sum(row["n"] for row in calibration)
    return sum(_mean_deviation(row["n"], row["confidence"]) for row in calibration if row["n"]) / total


def _mean_deviation(n: int, c: float) -> float:
    """Return the mean absolute deviation of a binomial distribution."""
    if not 0 < c < 1:
        return 0.0
    m = math.floor(n * c) + 1
    ways = math.lgamma(n + 1) - math.lgamma(m + 1) - math.lgamma(n - m + 1)
    return 2 * m * math.exp(ways + m * math.log(c) + (n - m + 1) * math.log1p(-c))


def _ece(calibration: Sequence[Mapping[str, Any]]) -> float:
    total = sum(row["n"] for row in calibration)
    gaps = [row["n"] * abs(row["accuracy"] - row["confidence"]) for row in calibration if row["n"]]
    return float(sum(gaps) / total)
