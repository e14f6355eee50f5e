"""Estimate the class ratio of unlabeled texts from predictions whose mistakes are known from labeled texts.

The mean prediction over a pool is a mixture of the mean predictions for the texts of each label, and the shares of the
labels are the weights of the mixture (Hopkins and King 2010, American Journal of Political Science 54; black-box shift
estimation, arXiv 1802.03916). The means are known from predictions for labeled texts that the classifier did not learn
from. With few labeled texts they are noisy, and inverting them would amplify the noise. This estimate weights the
equation by its noise, and adds what is known of the shares without it: the labeled texts themselves, if these were
drawn at random, or else a weak preference for the shares that are predicted, which changes no predictions. Where the
equation says little, this preference is wrong by more than its weight says, so intervals count only a quarter of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.ensemble.class_ratio import ClassRatio, share_floor

Array = NDArray[Any]
STRENGTH = 2.0  # the preference for the first guess counts like this many labeled texts for each label
_PSEUDO = 1.0  # a label's mean prediction is shrunk to that of a label of typical accuracy, with this many texts
_ROUNDS = 5  # the noise depends on the shares
_SUM_WEIGHT = 1e4  # of the equation that shares add up to 1, relative to the others


def estimate_ratio(
    oof_log_probabilities: Array,
    gold: Array,
    pool_probabilities: Array,
    *,
    as_drawn: bool,
    start: Array | None = None,
) -> ClassRatio:
    """Estimate the shares of the labels in a pool.

    Parameters
    ----------
    oof_log_probabilities : log-probabilities of labeled texts, each predicted by a classifier that did not learn from
        it, shape (n, L); NaN rows have no prediction
    gold : labels of these texts, int array of shape (n,)
    pool_probabilities : predictions for the pool, shape (rows, L)
    as_drawn : True if the labeled texts were drawn at random from texts like the pool, so that their ratio is evidence
    start : shares to prefer if not `as_drawn`, shape (L,); default: the mean of `pool_probabilities`

    Returns
    -------
    ClassRatio
        If no label has a prediction, the shares are those that are known without predictions.

    Examples
    --------
    The first label has a mean probability of .68 among texts of this label, .32 among the others, and .56 in the pool:
    .56 = 2/3 · .68 + 1/3 · .32. With few labeled texts, the estimate is closer to the mean prediction, and its interval
    is wide.

    >>> def predict(gold, count):
    ...     rows = np.log([[0.8, 0.2], [0.2, 0.8]])
    ...     right = np.arange(count) % 5 > 0
    ...     return rows[np.where(right, gold, 1 - gold)]
    >>> pool = np.tile([0.56, 0.44], (1000, 1))
    >>> for count in (20, 2000):
    ...     gold = np.arange(count) // 5 % 2
    ...     ratio = estimate_ratio(predict(gold, count), gold, pool, as_drawn=False)
    ...     print(ratio.shares.round(2), ratio.low.round(2), ratio.high.round(2))
    [0.63 0.37] [0.3  0.03] [0.97 0.7 ]
    [0.67 0.33] [0.61 0.28] [0.72 0.39]
    """
    mean = np.asarray(np.mean(pool_probabilities, axis=0, dtype=np.float64))
    before, known_rows = _known(gold, mean if start is None else start, as_drawn)
    seen = ~np.isnan(oof_log_probabilities).any(axis=1)
    shares, equations = before, known_rows[:0]
    if seen.any():
        confusion, spread, rows = _confusion(np.exp(oof_log_probabilities[seen]), gold[seen], len(mean))
        for _ in range(_ROUNDS):
            noise = spread * (float((shares**2 / rows).sum()) + 1 / len(pool_probabilities))
            whiten = _inverse_root(noise)
            equations = whiten @ confusion
            matrix = np.concatenate([equations, known_rows])
            shares = _least_squares(matrix, np.concatenate([whiten @ mean, known_rows @ before]))
    sure = known_rows if as_drawn else _cautious(before)
    half = _quantile(int(seen.sum()) - len(mean)) * _deviation(np.concatenate([equations, sure]))
    shares = share_floor(shares)
    return ClassRatio(shares, np.maximum(shares - half, 0), np.minimum(shares + half, 1))


def mean_ratio(ratios: Sequence[ClassRatio]) -> ClassRatio:
    """Return the mean of several estimates from the same texts; the narrower their intervals, the more they count.

    Their mistakes go together, so the interval of the mean is as wide as theirs are on average. The narrowest interval
    alone would be too narrow: it is often the one whose evidence happens to look best.

    Examples
    --------
    >>> def around(share, half):
    ...     return ClassRatio(*(np.array([share + step, 1 - share - step]) for step in (0, -half, half)))
    >>> [share.round(2).tolist() for share in mean_ratio([around(0.4, 0.1), around(0.6, 0.1)])]
    [[0.5, 0.5], [0.4, 0.6], [0.6, 0.4]]
    """
    widths = np.asarray([np.mean(np.abs(ratio.high - ratio.low)) for ratio in ratios])
    weights = 1 / np.maximum(widths, 1e-6) ** 2
    return ClassRatio(*(np.average(parts, axis=0, weights=weights) for parts in zip(*ratios, strict=True)))


def _quantile(freedom: int) -> float:
    """Return the two-sided 95% quantile of Student's distribution: the noise is known from few texts."""
    from scipy.stats import t

    return float(t.ppf(0.975, max(freedom, 4)))


def _cautious(start: Array) -> Array:
    """Return the square root of the information that intervals count of the preference for the first guess."""
    labels = len(start)
    variance = np.maximum(8 * start * (1 - start) / labels, 4 / labels**2) / STRENGTH
    return np.diag(1 / np.sqrt(variance))


def _known(gold: Array, start: Array, as_drawn: bool) -> tuple[Array, Array]:
    """Return the shares that are known without predictions, and the square root of their information."""
    labels = len(start)
    if not as_drawn:
        return share_floor(start), np.eye(labels) * labels * np.sqrt(STRENGTH)  # as of a sample with even shares
    counts = np.bincount(gold, minlength=labels) + 1.0
    shares = counts / counts.sum()
    return shares, np.diag(np.sqrt(counts.sum() / shares))


def _confusion(probabilities: Array, gold: Array, labels: int) -> tuple[Array, Array, Array]:
    """Return the mean prediction of each label, and how uncertain it is.

    Returns
    -------
    confusion : shape (L, L); column k is the mean prediction for texts of label k
    spread : covariance of predictions among texts of the same label, shape (L, L)
    rows : number of texts behind each column, those that it is shrunk with included, shape (L,)
    """
    counts = np.bincount(gold, minlength=labels).astype(np.float64)
    sums = np.zeros((labels, labels))
    np.add.at(sums, gold, probabilities)
    right = float(probabilities[np.arange(len(gold)), gold].mean()) if len(gold) else 1 / labels
    right = min(right, len(gold) / (len(gold) + 1))  # that n texts are all right does not show more
    typical = np.full((labels, labels), (1 - right) / max(labels - 1, 1))
    np.fill_diagonal(typical, right)
    rows = counts + _PSEUDO
    confusion = ((sums + _PSEUDO * typical) / rows[:, None]).T
    # Texts of one label differ at most like votes with these means.
    bound = np.diag(typical[0]) - np.outer(typical[0], typical[0])
    for label in range(1, labels):
        bound = bound + np.diag(typical[label]) - np.outer(typical[label], typical[label])
    means = sums / np.maximum(counts, 1)[:, None]
    differences = probabilities - means[gold]
    freedom = max(len(gold) - int(np.count_nonzero(counts)), 0)
    spread = (differences.T @ differences + bound / labels) / (freedom + 1)
    return confusion, spread, rows


def _inverse_root(matrix: Array) -> Array:
    """Return the inverse square root of a covariance. Directions without variance are left out."""
    values, vectors = np.linalg.eigh(matrix)
    good = values > values.max() * 1e-9
    return np.asarray((vectors[:, good] / np.sqrt(values[good])).T)


def _least_squares(matrix: Array, goal: Array) -> Array:
    """Return the shares, at least 0 and adding up to 1, that minimize ``|matrix @ shares - goal|``."""
    from scipy.optimize import nnls

    weight = _SUM_WEIGHT * np.abs(matrix).max()
    matrix = np.concatenate([matrix, np.full((1, matrix.shape[1]), weight)])
    shares = nnls(matrix, np.append(goal, weight))[0]
    return np.asarray(shares / shares.sum())


def _deviation(matrix: Array) -> Array:
    """Return the standard deviation of each share, given that shares add up to 1."""
    labels = matrix.shape[1]
    basis = np.linalg.qr(np.concatenate([np.ones((labels, 1)), np.eye(labels)[:, 1:]], axis=1))[0][:, 1:]
    reduced = basis.T @ (matrix.T @ matrix) @ basis
    return np.asarray(np.sqrt(np.diag(basis @ np.linalg.inv(reduced) @ basis.T)))
