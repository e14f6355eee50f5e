"""How good a classifier is, from its probabilities and the gold labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pet.errors import PetError
from pet.report.tables import HEADLINE, majority_line, text_table
from pet.terminal import clean

BINS = 15


def evaluate(probabilities: ArrayLike, gold: ArrayLike, labels: Sequence[str]) -> dict[str, Any]:
    """Measure predictions against gold labels.

    Parameters
    ----------
    probabilities : array of shape [n, L]
        One row an example, one column a label in task order. The first of equal maxima is the
        prediction.
    gold : array of shape [n], integers
        Index of the right label.
    labels : sequence of L str

    Returns
    -------
    dict of plain Python values
        ``n``; ``accuracy``; ``macro_f1``, the mean of F1 over all labels of the task, with 0 where
        precision and recall have no meaning; ``mcc``, the correlation of Matthews for many classes
        (Gorodkin 2004), 0 where it has no meaning; ``ece``, the expected calibration error over 15
        bins of equal width (Guo et al. 2017); ``per_class``, label -> ``precision``, ``recall``,
        ``f1``, ``support``; ``confusion``, counts with a row for each gold label and a column for
        each predicted one; ``calibration``, for each bin ``lower`` (excluded), ``upper`` (included),
        ``n``, and the mean ``confidence`` and ``accuracy`` in it (None where it is empty).

    Raises
    ------
    PetError
        When there is no example.
    ValueError
        For arrays that do not fit each other, or values that are no probabilities.
    """
    scores = np.asarray(probabilities, dtype=np.float64)
    right = np.asarray(gold)
    _check(scores, right, labels)
    predicted = scores.argmax(axis=1)
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(confusion, (right, predicted), 1)
    per_class = _per_class(confusion)
    calibration = _calibration(scores.max(axis=1), predicted == right)
    return {
        "n": len(right),
        "accuracy": float(np.trace(confusion) / len(right)),
        "macro_f1": float(np.mean([row["f1"] for row in per_class])),
        "mcc": _mcc(confusion),
        "ece": _ece(calibration),
        "per_class": dict(zip(labels, per_class, strict=True)),
        "confusion": confusion.tolist(),
        "calibration": calibration,
    }


def _check(scores: NDArray[np.float64], gold: NDArray[Any], labels: Sequence[str]) -> None:
    if scores.size == 0 and gold.size == 0:
        raise PetError("there is nothing to evaluate: the data has no labeled example")
    if scores.ndim != 2 or scores.shape[1] != len(labels) or gold.shape != scores.shape[:1]:
        raise ValueError(
            f"probabilities have shape {scores.shape} and gold {gold.shape}: expected [n, {len(labels)}] and [n]"
        )
    if len(set(labels)) != len(labels):
        raise ValueError("two labels have the same name")
    if not np.issubdtype(gold.dtype, np.integer) or gold.min() < 0 or gold.max() >= len(labels):
        raise ValueError(f"gold must hold integers from 0 to {len(labels) - 1}")
    # The margin allows for half precision; NaN fails both comparisons.
    if not (scores.min() >= -1e-6 and scores.max() <= 1.01):
        raise ValueError("probabilities must lie between 0 and 1")


def _per_class(confusion: NDArray[np.int64]) -> list[dict[str, float | int]]:
    rows: list[dict[str, float | int]] = []
    for label in range(len(confusion)):
        hits = int(confusion[label, label])
        support = int(confusion[label].sum())
        claimed = int(confusion[:, label].sum())
        rows.append(
            {
                "precision": hits / claimed if claimed else 0.0,
                "recall": hits / support if support else 0.0,
                "f1": 2 * hits / (support + claimed) if support + claimed else 0.0,
                "support": support,
            }
        )
    return rows


def _mcc(confusion: NDArray[np.int64]) -> float:
    table = confusion.astype(np.float64)
    n, hits = table.sum(), np.trace(table)
    support, claimed = table.sum(axis=1), table.sum(axis=0)
    spread = (n**2 - claimed @ claimed) * (n**2 - support @ support)
    return float((hits * n - support @ claimed) / np.sqrt(spread)) if spread > 0 else 0.0


def _calibration(confidence: NDArray[np.float64], hit: NDArray[np.bool_]) -> list[dict[str, Any]]:
    upper = np.arange(1, BINS + 1) / BINS
    # A confidence on an edge belongs to the bin below it; one a hair above 1 to the last.
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


def _ece(calibration: Sequence[Mapping[str, Any]]) -> float:
    total = sum(row["n"] for row in calibration)
    gaps = [row["n"] * abs(row["accuracy"] - row["confidence"]) for row in calibration if row["n"]]
    return float(sum(gaps) / total)


def format_metrics(metrics: Mapping[str, Any]) -> str:
    """The outcome of `evaluate` as text for a terminal: headline, classes, confusion matrix."""
    parts = [f"{metrics['n']} examples"]
    parts += [f"{name} {metrics[figure]:.3f}" for figure, name in HEADLINE.items()]
    headline = f"{', '.join(parts)}\n{majority_line(metrics)}"
    per_class = metrics["per_class"]
    classes = text_table(
        [[label, row["precision"], row["recall"], row["f1"], row["support"]] for label, row in per_class.items()],
        ["label", "precision", "recall", "F1", "support"],
    )
    return "\n".join([headline, "", classes, "", _format_confusion(metrics)])


def _format_confusion(metrics: Mapping[str, Any]) -> str:
    # Columns carry numbers in place of names: seventy labels side by side fit no terminal.
    labels = list(metrics["per_class"])
    rows = [
        [f"{i} {clean(label)}", *row] for i, (label, row) in enumerate(zip(labels, metrics["confusion"], strict=True))
    ]
    return text_table(rows, ["gold \\ predicted", *(str(i) for i in range(len(labels)))])
