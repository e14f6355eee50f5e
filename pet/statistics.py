"""Intervals for figures, and paired comparisons, that hold for few texts.

Normal error bars are too narrow below a few hundred texts, and vanish when every answer is right (arXiv 2503.01747).
Accuracy has the interval of Wilson (1927). Macro F1 and MCC have the posterior of `pet.posterior`, in which labels
inform each other; `benchmarks/intervals.py` counts how often these intervals hold the true value, from two texts of
each label. Differences between two classifiers have a Bayesian bootstrap (Rubin 1981): each text gets a random weight.
One more text, spread over all labels and half of it right, keeps a perfect score on a few texts from looking certain.
Draws depend only on the counts: equal inputs give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pet.confusion import Confusion
from pet.posterior import confusion_draws, sums_by_label
from pet.seeds import derive_seed

Array = NDArray[Any]
Interval = tuple[float, float]

LEVEL = 0.95  # probability that an interval holds the true value
_Z = 1.959963984540054  # of a standard normal variable, the quantile .975
_DRAWS, _FEWEST_DRAWS = 2000, 400
_FEW = 20  # texts for each label, below which a label may be missing by chance
_MOST_NUMBERS = 1_000_000  # drawn at a time: 8 MB


def wilson(hits: float, n: float) -> Interval:
    """Return the 95% interval of a share (Wilson 1927, Journal of the American Statistical Association 22).

    Examples
    --------
    >>> [round(end, 3) for end in wilson(9, 10)]
    [0.596, 0.982]
    >>> [round(end, 3) for end in wilson(10, 10)]
    [0.722, 1.0]
    """
    if not 0 <= hits <= n or n == 0:
        raise ValueError(f"{hits} of {n} is not a share")
    share, extra = hits / n, _Z**2 / n
    middle = (share + extra / 2) / (1 + extra)
    half = _Z * float(np.sqrt(share * (1 - share) / n + extra / (4 * n))) / (1 + extra)
    low = 0.0 if hits == 0 else max(0.0, middle - half)
    return low, 1.0 if hits == n else min(1.0, middle + half)


def mean_interval(values: ArrayLike, weights: ArrayLike | None = None) -> Interval:
    """Return the 95% interval of the mean of values between -1 and 1 (Bayesian bootstrap).

    Half a text at each end keeps a few equal values from looking certain.

    Parameters
    ----------
    values : one for each text
    weights : how much each text counts, 1 on the mean; default: all count alike

    Examples
    --------
    >>> [round(end, 2) for end in mean_interval([0, 0, 0.5, 0, 1, 0, -0.5, 0])]
    [-0.2, 0.45]
    """
    given = np.append(np.asarray(values, dtype=np.float64), [-1.0, 1.0])
    counts = np.append(np.ones(len(given) - 2) if weights is None else weights, [1.0, 1.0])
    parts = np.append(np.ones(len(given) - 2), [0.5, 0.5])
    low, high = middle(np.concatenate([drawn @ (counts * given) / (drawn @ counts) for drawn in dirichlet(parts)]))
    return low, high


def effective_size(weights: ArrayLike) -> float:
    """Return how many texts that count alike say as much as texts with these weights (Kish 1965, Survey Sampling).

    Examples
    --------
    >>> effective_size([1, 1, 1]), effective_size([2, 1, 1, 0])
    (3.0, 2.6666666666666665)
    """
    given = np.asarray(weights, dtype=np.float64)
    return float(given.sum() ** 2 / (given**2).sum())


def spread_of_draws(figures: ArrayLike) -> tuple[float, float | None]:
    """Tell the spread of a figure over draws of the examples from its spread over seeds.

    Parameters
    ----------
    figures : float array of shape (draws, seeds)
        At least two draws.

    Returns
    -------
    Standard deviations: of the expected figure over draws, and over the seeds of one draw (None with a single seed,
    where the first one includes it). The variance of the means of the draws is that of the draws plus that of the seeds
    divided by their number (analysis of variance with random effects).

    Examples
    --------
    >>> [round(each, 3) for each in spread_of_draws([[0.8, 0.82], [0.7, 0.72]])]
    [0.07, 0.014]
    """
    values = np.asarray(figures, dtype=np.float64)
    between = float(values.mean(axis=1).var(ddof=1))
    if values.shape[1] == 1:
        return between**0.5, None
    within = float(values.var(axis=1, ddof=1).mean())
    return max(between - within / values.shape[1], 0.0) ** 0.5, within**0.5


def metric_intervals(confusion: Confusion | ArrayLike) -> dict[str, list[float]]:
    """Return 95% intervals of the metrics that follow from a confusion matrix.

    Parameters
    ----------
    confusion : Confusion, or int array of shape (L, L)
        Counts, one row per gold label and one column per predicted label.

    Returns
    -------
    dict
        ``accuracy_interval`` (Wilson), ``macro_f1_interval`` and ``mcc_interval`` (`pet.posterior`): low and high.

    Examples
    --------
    >>> found = metric_intervals([[9, 1], [0, 10]])
    >>> {name: [round(end, 2) for end in ends] for name, ends in found.items()}
    {'accuracy_interval': [0.76, 0.99], 'macro_f1_interval': [0.77, 0.99], 'mcc_interval': [0.55, 0.99]}
    """
    counts = Confusion.read(confusion)
    n = int(counts.count.sum())
    hits, support, claimed = ((own / n)[None] for own in (counts.hits, counts.support, counts.claimed))
    seen = (support + claimed)[0] > 0
    draws = min(_DRAWS, max(_MOST_NUMBERS // counts.labels, _FEWEST_DRAWS))
    found = []
    for margins in confusion_draws(counts, draws, _MOST_NUMBERS):
        found.append(np.stack([_macro_f1(*margins, seen), _macro_f1(*margins, np.ones_like(seen)), _mcc(*margins)]))
    f1, f1_with_unseen, mcc = np.concatenate(found, axis=1)
    # F1 of labels that were not seen counts as 0. Of few texts, they may be as good as the others.
    f1_ends = [middle(f1), *([middle(f1_with_unseen)] if n < _FEW * counts.labels else [])]
    return {
        "accuracy_interval": list(wilson(int(counts.hits.sum()), n)),
        "macro_f1_interval": around(float(_macro_f1(hits, support, claimed, seen)[0]), *f1_ends),
        "mcc_interval": around(float(_mcc(hits, support, claimed)[0]), middle(mcc)),
    }


def around(figure: float, *intervals: Sequence[float]) -> list[float]:
    """Return the shortest interval that holds a figure and all of some intervals."""
    return [min(figure, *(low for low, _ in intervals)), max(figure, *(high for _, high in intervals))]


def paired(gold: ArrayLike, ours: ArrayLike, theirs: ArrayLike, labels: int) -> dict[str, Any]:
    """Compare two classifiers on the same texts.

    The shares of texts that only one of them gets right have a Dirichlet posterior. Its prior is half a text for each
    (Jeffreys), so that equal predictions on a few texts do not prove that the classifiers are equal. With fewer than 20
    texts for each label, the interval and the probability for macro F1 allow for labels that the texts do not have.

    Parameters
    ----------
    gold, ours, theirs : int arrays of shape (n,)
        The correct label of each text, and the labels that the classifiers predict.
    labels : int
        Number of labels.

    Returns
    -------
    dict
        - ``n``, ``wins``, ``losses``: numbers of texts, of those that only ours gets right, and only theirs
        - ``accuracy``, ``macro_f1``: ``difference`` (ours minus theirs), its 95% ``interval``, and ``better``, the
          probability that ours is better on texts like these

    Examples
    --------
    >>> found = paired([0, 0, 1, 1, 1, 0], [0, 0, 1, 1, 1, 1], [0, 1, 0, 1, 0, 1], 2)
    >>> found["wins"], found["losses"], round(found["accuracy"]["better"], 2)
    (3, 0, 0.97)
    """
    from scipy.special import betainc

    right, first, second = (np.asarray(values, dtype=np.int64) for values in (gold, ours, theirs))
    if not len(right) or not right.shape == first.shape == second.shape:
        raise ValueError(f"shapes {right.shape}, {first.shape} and {second.shape} are not those of the same texts")
    wins = int(((first == right) & (second != right)).sum())
    losses = int(((second == right) & (first != right)).sum())
    difference = (wins - losses) / len(right)
    accuracy = {
        "difference": difference,
        "interval": around(difference, middle(share_differences(wins, losses, len(right)))),
        "better": float(betainc(losses + 0.5, wins + 0.5, 0.5)),
    }
    steps, steps_with_unseen = _f1_differences(right, first, second, labels)
    few = len(right) < _FEW * labels
    decisive = steps_with_unseen if few else steps
    difference = _f1_of(right, first, labels) - _f1_of(right, second, labels)
    macro_f1 = {
        "difference": difference,
        "interval": around(difference, middle(steps), *([middle(steps_with_unseen)] if few else [])),
        "better": float((decisive > 0).mean() + (decisive == 0).mean() / 2),
    }
    return {"n": len(right), "wins": wins, "losses": losses, "accuracy": accuracy, "macro_f1": macro_f1}


def _f1_differences(gold: Array, ours: Array, theirs: Array, labels: int) -> Array:
    """Draws of the difference between two macro F1, shape (2, draws). Both have the same weights of texts.

    In the first row, F1 of labels that were not seen counts as 0; in the second row, as that of an unknown label.
    """
    cells, counts = np.unique(np.stack([gold, ours, theirs]), axis=1, return_counts=True)
    seen = [_seen(cells[[0, which]], labels) for which in (1, 2)]
    each, every = np.arange(labels), np.ones(labels, dtype=bool)
    other = (each + 1) % labels
    cells = np.concatenate([cells, [each, each, other], [each, other, each]], axis=1)
    weights = np.concatenate([counts, np.full(2 * labels, 1 / (2 * labels))])
    found = []
    for drawn in dirichlet(weights):
        first, second = (_margins(cells[0], cells[which], drawn, labels) for which in (1, 2))
        steps = _macro_f1(*first, seen[0]) - _macro_f1(*second, seen[1])
        found.append(np.stack([steps, _macro_f1(*first, every) - _macro_f1(*second, every)]))
    return np.concatenate(found, axis=1)


def share_differences(wins: int, losses: int, n: int) -> Array:
    """Draws of the difference between two accuracies."""
    parts = np.asarray([wins + 0.5, losses + 0.5, *([n - wins - losses] if n > wins + losses else [])])
    return np.concatenate([drawn[:, 0] - drawn[:, 1] for drawn in dirichlet(parts, times=20)])


def _seen(found: Array, labels: int) -> Array:
    there = np.zeros(labels, dtype=bool)
    there[np.unique(found)] = True
    return there


def _f1_of(gold: Array, predicted: Array, labels: int) -> float:
    margins = _margins(gold, predicted, np.ones((1, len(gold))), labels)
    return float(_macro_f1(*margins, margins[1][0] + margins[2][0] > 0)[0])


def dirichlet(parts: Array, times: int = 1) -> Iterator[Array]:
    """Draw shares that add up to 1, shape (draws, parts), a chunk of rows at a time."""
    generator = np.random.default_rng(derive_seed(0, "interval"))
    rows = max(1, _MOST_NUMBERS // len(parts))
    draws = min(times * _DRAWS, max(2 * rows, _FEWEST_DRAWS))
    for start in range(0, draws, rows):
        drawn = generator.standard_gamma(parts, size=(min(rows, draws - start), len(parts)))
        yield drawn / drawn.sum(axis=1, keepdims=True)


def _margins(gold: Array, predicted: Array, shares: Array, labels: int) -> tuple[Array, Array, Array]:
    """Return what each label has of the shares: right, gold, and predicted; each of shape (draws, L)."""
    right = gold == predicted
    return (
        sums_by_label(gold[right], shares[:, right], labels),
        sums_by_label(gold, shares, labels),
        sums_by_label(predicted, shares, labels),
    )


def _macro_f1(hits: Array, support: Array, claimed: Array, seen: Array) -> Array:
    """Mean F1 over all labels; that of labels that are neither gold nor predicted is 0."""
    f1 = np.zeros(hits.shape)
    np.divide(2 * hits, support + claimed, out=f1, where=seen & (support + claimed > 0))
    return np.asarray(f1.mean(axis=1))


def _mcc(hits: Array, support: Array, claimed: Array) -> Array:
    both = (support * claimed).sum(axis=1)
    spread = (1 - (claimed**2).sum(axis=1)) * (1 - (support**2).sum(axis=1))
    out = np.zeros(len(hits))
    np.divide(hits.sum(axis=1) - both, np.sqrt(np.maximum(spread, 0)), out=out, where=spread > 1e-12)
    return out


def corrected(figure: float, draws: Array, plain: Array, lowest: float) -> list[float]:
    """Return the interval of a figure from its draws, and as many draws without the additional text.

    The latter differ from the figure as the figure differs from the true value, on average.
    """
    low, high = (end + 2 * (figure - float(np.median(plain))) for end in middle(draws))
    return [max(lowest, min(low, figure)), min(1.0, max(high, figure))]


def middle(draws: Array) -> list[float]:
    """Return the ends of the interval that holds 95% of the draws and leaves out as many on each side."""
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(low), float(high)]
