"""Metrics for texts with several labels, and the threshold from which a label applies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pet.errors import PetError
from pet.numerics import sigmoid
from pet.statistics_sets import set_intervals

Array = NDArray[Any]
HALF = 0.5  # a label applies from this probability, unless a threshold was learned
_CANDIDATES = np.arange(1, 19) / 20
_PSEUDO_TEXTS = 40  # a learned threshold is halfway between the best and the expected one with this many texts


def evaluate_sets(
    probabilities: ArrayLike, gold: ArrayLike, labels: Sequence[str], threshold: float = HALF
) -> dict[str, Any]:
    """Measure predictions for texts that may have any number of labels.

    Parameters
    ----------
    probabilities : array of shape (n, L)
        Probability of each label, independent of the others.
    gold : array of shape (n, L)
        1 for each label that applies, 0 for the others.
    labels : sequence of L str
    threshold : a label is predicted from this probability

    Returns
    -------
    dict of plain Python values
        - ``n``: number of texts
        - ``micro_f1``: F1 over all decisions; ``macro_f1``: mean F1 over all labels of the task, 0 where undefined
        - ``lrap``: label ranking average precision (Tsoumakas et al. 2010); 1 if the labels of every text have the
          highest probabilities. It does not depend on the threshold
        - ``exact_match``: share of texts whose labels are all right
        - ``micro_f1_interval``, ``macro_f1_interval``, ``exact_match_interval``: 95% intervals; see
          `pet.statistics_sets`
        - ``threshold``
        - ``per_class``: label -> ``precision``, ``recall``, ``f1``, ``support``

    Raises
    ------
    PetError
        If there are no texts.
    ValueError
        If the shapes do not match, or values are not probabilities.

    Examples
    --------
    >>> metrics = evaluate_sets([[0.9, 0.6], [0.2, 0.7]], [[1, 0], [0, 1]], ["bug", "billing"])
    >>> metrics["micro_f1"], metrics["lrap"], metrics["exact_match"]
    (0.8, 1.0, 0.5)
    """
    scores, right = np.asarray(probabilities, dtype=np.float64), np.asarray(gold)
    _check(scores, right, len(labels))
    truth, said = right > 0, scores >= threshold
    hits, support, claimed = (truth & said).sum(axis=0), truth.sum(axis=0), said.sum(axis=0)
    f1 = [_f1(*counts) for counts in zip(hits, support, claimed, strict=True)]
    rows = [
        {"precision": _share(hit, n), "recall": _share(hit, there), "f1": value, "support": int(there)}
        for hit, there, n, value in zip(hits, support, claimed, f1, strict=True)
    ]
    return {
        "n": len(right),
        "micro_f1": _f1(hits.sum(), support.sum(), claimed.sum()),
        "macro_f1": float(np.mean(f1)),
        "lrap": ranking_precision(scores, truth),
        "exact_match": float((truth == said).all(axis=1).mean()),
        **set_intervals(truth, said),
        "threshold": float(threshold),
        "per_class": dict(zip(labels, rows, strict=True)),
    }


def _check(scores: Array, gold: Array, labels: int) -> None:
    if scores.size == 0 and gold.size == 0:
        raise PetError("nothing to evaluate: the data has no labeled examples")
    if scores.shape != gold.shape or scores.ndim != 2 or scores.shape[1] != labels:
        raise ValueError(f"probabilities have shape {scores.shape} and gold {gold.shape}: both must be [n, {labels}]")
    if not (scores.min() >= -1e-6 and scores.max() <= 1.01):  # the tolerance is for half precision; NaN fails both
        raise ValueError("probabilities must be between 0 and 1")


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.0


def _f1(hits: int, support: int, claimed: int) -> float:
    return float(2 * hits / (support + claimed)) if support + claimed else 0.0


def ranking_precision(scores: Array, truth: Array) -> float:
    """Return the label ranking average precision; a text without labels counts as 1.

    Parameters
    ----------
    scores : array of shape (n, L)
    truth : bool array of shape (n, L)
    """
    from sklearn.metrics import label_ranking_average_precision_score

    return float(label_ranking_average_precision_score(truth, scores))


def matching_threshold(probabilities: Array, share: float) -> float:
    """Return the probability from which this share of all decisions is that a label applies.

    Fewer than 40 texts count less: the log-odds of the threshold are shrunk in proportion to them.

    Parameters
    ----------
    probabilities : predictions, shape (n, L)
    share : between 0 and 1, such as that of the labeled texts

    Returns
    -------
    float: between 0.05 and 0.9

    Examples
    --------
    >>> many, few = np.tile([[0.1, 0.2], [0.3, 0.8]], (20, 1)), np.array([[0.1, 0.2], [0.3, 0.8]])
    >>> matching_threshold(many, 0.25), round(matching_threshold(few, 0.25), 3)
    (0.8, 0.517)
    """
    ordered = np.sort(np.asarray(probabilities, dtype=np.float64), axis=None)
    if not len(ordered):
        return HALF
    count = min(len(ordered), max(1, round(share * len(ordered))))
    matching = np.clip(ordered[-count], _CANDIDATES[0], _CANDIDATES[-1])
    if len(probabilities) >= _PSEUDO_TEXTS:
        return float(matching)
    return float(sigmoid(len(probabilities) / _PSEUDO_TEXTS * np.log(matching / (1 - matching))))


def shared_threshold(log_odds: Array, gold: Array, expected: float = HALF) -> float:
    """Return the probability from which labels apply, learned from a few texts.

    One threshold for all labels has the highest micro-F1 on these texts. Its log-odds are then shrunk toward those of
    the expected threshold, as if 40 more texts spoke for that.

    Parameters
    ----------
    log_odds : predictions for texts that were not learned from, shape (n, L)
    gold : 0 and 1, shape (n, L)
    expected : the threshold without these texts, such as `matching_threshold` of unlabeled texts

    Examples
    --------
    >>> sure, unsure = np.full((40, 1), -0.5), np.full((40, 1), -2.0)
    >>> round(shared_threshold(np.concatenate([sure, unsure]), np.repeat([[1], [0]], 40, axis=0)), 3)
    0.398
    """
    truth = np.asarray(gold) > 0
    if not truth.any():
        return expected
    probabilities = sigmoid(log_odds)
    figures = []
    for candidate in _CANDIDATES:
        said = probabilities >= candidate
        figures.append(_f1((truth & said).sum(), truth.sum(), said.sum()))
    near = -np.abs(_CANDIDATES - HALF)  # of equals, the one closest to one half
    best = _CANDIDATES[max(range(len(figures)), key=lambda place: (round(figures[place], 9), near[place]))]
    learned, usual = (np.log(threshold / (1 - threshold)) for threshold in (best, expected))
    return float(sigmoid((len(truth) * learned + _PSEUDO_TEXTS * usual) / (len(truth) + _PSEUDO_TEXTS)))
