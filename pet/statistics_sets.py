"""Intervals of figures about texts with several labels, and paired comparisons; see `pet.statistics`.

Texts are drawn, with all their decisions. As in `pet.statistics`, a small weight is on decisions that were not seen, so
that perfect figures on a few texts do not prove that they are perfect.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pet.statistics import around, corrected, dirichlet, middle, share_differences, wilson

Array = NDArray[Any]


def set_intervals(truth: ArrayLike, said: ArrayLike) -> dict[str, list[float]]:
    """Return 95% intervals of figures about texts with several labels.

    Parameters
    ----------
    truth, said : bool arrays of shape (n, L): which labels texts have, and which they were given

    Returns
    -------
    dict
        ``micro_f1_interval`` and ``macro_f1_interval`` (Bayesian bootstrap of texts), ``exact_match_interval``
        (Wilson): low and high.

    Examples
    --------
    >>> truth = np.array([[True, False], [False, True]] * 10)
    >>> found = set_intervals(truth, truth)
    >>> [round(end, 2) for end in found["exact_match_interval"]], found["micro_f1_interval"][0] < 1
    ([0.84, 1.0], True)
    """
    right, given = np.asarray(truth, dtype=bool), np.asarray(said, dtype=bool)
    n, labels = right.shape
    counts = _counts(right, given)
    weights = np.concatenate([np.ones(n), np.full(3 * labels, 1 / (3 * labels))])
    figures = _figures(counts[:n].sum(axis=0, keepdims=True), labels)
    found, others = [], []
    for drawn in dirichlet(weights):
        found.append(_figures(drawn @ counts, labels))
        others.append(_figures(drawn[:, :n] @ counts[:n], labels))
    draws, plain = np.concatenate(found, axis=1), np.concatenate(others, axis=1)
    ends = [corrected(float(figures[k, 0]), draws[k], plain[k], 0.0) for k in range(2)]
    exact = list(wilson(int((right == given).all(axis=1).sum()), n))
    return {"micro_f1_interval": ends[0], "macro_f1_interval": ends[1], "exact_match_interval": exact}


def mean_micro_f1(truth: ArrayLike, said: ArrayLike) -> tuple[float, float, float]:
    """Return the micro F1 of several predictions for each text, and its 95% interval over texts.

    Parameters
    ----------
    truth : bool array of shape (n, L): which labels texts have
    said : array of shape (draws, n, L): 1 for each label that a draw gives, 0 for the others, NaN where it gives none

    Examples
    --------
    Hits and claims are means over the draws: 2 (1 + 2) / (2.5 + 4) by hand.

    >>> truth = np.array([[True, False], [True, True]])
    >>> said = np.array([[[1, 0], [np.nan, np.nan]], [[1, 1], [1, 1]]])
    >>> [round(figure, 2) for figure in mean_micro_f1(truth, said)]
    [0.92, 0.49, 0.99]
    """
    right, given = np.asarray(truth, dtype=bool), np.asarray(said, dtype=np.float64)
    known = np.asarray(~np.isnan(given).any(axis=2))
    judged = known.any(axis=0)
    claims = np.nan_to_num(given)[:, judged] > 0
    each = np.stack([(claims & right[judged]).sum(axis=2), claims.sum(axis=2)], axis=2) * known[:, judged, None]
    hits, claimed = (each.sum(axis=0) / known[:, judged].sum(axis=0)[:, None]).T
    counts = np.stack([hits, right[judged].sum(axis=1) + claimed], axis=1)
    unseen = np.array([[1.0, 2.0], [0.0, 1.0], [0.0, 1.0]])  # a hit, a miss, a false alarm
    weights = np.concatenate([np.ones(len(counts)), np.full(3, 1 / 3)])
    with_unseen, plain = [], []
    for drawn in dirichlet(weights):
        with_unseen.append(_ratio(drawn @ np.concatenate([counts, unseen])))
        plain.append(_ratio(drawn[:, : len(counts)] @ counts))
    figure = float(_ratio(counts.sum(axis=0, keepdims=True))[0])
    low, high = corrected(figure, np.concatenate(with_unseen), np.concatenate(plain), 0.0)
    return figure, low, high


def _ratio(sums: Array) -> Array:
    """Return F1 from hits, and support plus claims: shape (rows,)."""
    return np.divide(2 * sums[:, 0], sums[:, 1], out=np.zeros(len(sums)), where=sums[:, 1] > 0)


def paired_sets(truth: ArrayLike, ours: ArrayLike, theirs: ArrayLike) -> dict[str, Any]:
    """Compare two classifiers on the same texts, which may have several labels.

    Parameters
    ----------
    truth, ours, theirs : bool arrays of shape (n, L)
        The labels of each text, and those that the classifiers give it.

    Returns
    -------
    dict
        - ``n``, ``wins``, ``losses``: numbers of texts, of those whose labels are all right with ours only, and with
          theirs only
        - ``micro_f1``, ``macro_f1``, ``exact_match``: ``difference``, ``interval`` and ``better``, as in
          `pet.statistics.paired`

    Examples
    --------
    >>> truth = np.array([[True, False]] * 8)
    >>> found = paired_sets(truth, truth, ~truth)
    >>> found["wins"], found["micro_f1"]["difference"], found["micro_f1"]["better"]
    (8, 1.0, 1.0)
    """
    from scipy.special import betainc

    right, first, second = (np.asarray(values, dtype=bool) for values in (truth, ours, theirs))
    if not len(right) or not right.shape == first.shape == second.shape:
        raise ValueError(f"shapes {right.shape}, {first.shape} and {second.shape} are not those of the same texts")
    n, labels = right.shape
    counts = [_counts(right, said) for said in (first, second)]
    weights = np.concatenate([np.ones(n), np.full(3 * labels, 1 / (3 * labels))])
    steps = np.concatenate(
        [_figures(drawn @ counts[0], labels) - _figures(drawn @ counts[1], labels) for drawn in dirichlet(weights)],
        axis=1,
    )
    figures = [_figures(own[:n].sum(axis=0, keepdims=True), labels)[:, 0] for own in counts]
    plain = figures[0] - figures[1]
    found: dict[str, Any] = {
        name: {
            "difference": float(plain[k]),
            "interval": around(float(plain[k]), middle(steps[k])),
            "better": float((steps[k] > 0).mean() + (steps[k] == 0).mean() / 2),
        }
        for k, name in enumerate(("micro_f1", "macro_f1"))
    }
    exact = [(said == right).all(axis=1) for said in (first, second)]
    wins, losses = int((exact[0] & ~exact[1]).sum()), int((exact[1] & ~exact[0]).sum())
    found["exact_match"] = {
        "difference": (wins - losses) / n,
        "interval": around((wins - losses) / n, middle(share_differences(wins, losses, n))),
        "better": float(betainc(losses + 0.5, wins + 0.5, 0.5)),
    }
    return {"n": n, "wins": wins, "losses": losses, **found}


def _counts(truth: Array, said: Array) -> Array:
    """Return hits, support and claims of each label for each text, and for texts that were not seen: (n + 3 L, 3 L).

    The latter are a hit, a miss, and a false alarm of each label.
    """
    labels = truth.shape[1]
    each, none = np.eye(labels), np.zeros((labels, labels))
    unseen = np.block([[each, each, each], [none, each, none], [none, none, each]])
    return np.concatenate([np.concatenate([truth & said, truth, said], axis=1).astype(np.float64), unseen])


def _figures(sums: Array, labels: int) -> Array:
    """Return micro and macro F1 for each row of sums: shape (2, rows)."""
    hits, support, claimed = (sums[:, k * labels : (k + 1) * labels] for k in range(3))
    total = (support + claimed).sum(axis=1)
    micro = np.divide(2 * hits.sum(axis=1), total, out=np.zeros(len(sums)), where=total > 0)
    each = np.divide(2 * hits, support + claimed, out=np.zeros(hits.shape), where=support + claimed > 0)
    return np.stack([micro, each.mean(axis=1)])
