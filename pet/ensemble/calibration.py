"""How often merged labels are wrong, and a temperature that says so.

Two members that learned from the same few texts disagree about as often as one of them is wrong (Jiang et al. 2022,
arXiv 2106.13799). That needs no labeled text, and many unlabeled ones give it almost without noise. A few dozen labeled
texts that members left out say it, too, but with a standard error of eight points at 32. They also show too many
errors, because each text is judged by one pattern, which learned from fewer texts. So the disagreement is the prior,
and the labeled texts are the evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pet.numerics import log_softmax

Array = NDArray[Any]


class Ratio(NamedTuple):
    """Errors of the merged labels for each disagreement of two patterns.

    Attributes
    ----------
    mean : its geometric mean
    spread : of its logarithm, whose tails are those of Student's t with 3 degrees of freedom
    """

    mean: float
    spread: float


# Measured on the development sets, on labels of the pool and labeled texts that were not drawn (benchmarks/README.md).
ERRORS = Ratio(1.46, 0.3)  # if patterns learned from labeled texts only
SHARED_ERRORS = Ratio(2.4, 0.3)  # if all learned from the same pseudo-labeled texts, too, and so share their mistakes
# How many more errors there are among labeled texts that members left out: the logarithm has the standard deviation
# s = _LEFT_OUT / sqrt(texts per label), at most _MOST_LEFT_OUT, and the mean s / 2.
_LEFT_OUT, _MOST_LEFT_OUT = 1.4, 0.6
_GRID, _STEPS = 2000, 161
_LEAST = 1e-3  # the least error, as a share of that of chance
_FACTORS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_FARTHEST = 4.0  # a temperature is at most e^4 times as large or small as that of the weights


def disagreement(labels: Sequence[Array], patterns: Sequence[object]) -> float:
    """Return how often members with different patterns name different labels, on average over all pairs and texts.

    Repetitions of a pattern make the same mistakes, so that they agree says little.

    Parameters
    ----------
    labels : of each member, an int array of shape (rows,)
    patterns : of each member, at least two different ones

    Examples
    --------
    Of three pairs, two disagree on the first text and none on the second:

    >>> round(disagreement([np.array([0, 1]), np.array([0, 1]), np.array([2, 1])], patterns=[0, 1, 2]), 3)
    0.333
    """
    pairs = [pair for pair in combinations(range(len(labels)), 2) if patterns[pair[0]] != patterns[pair[1]]]
    return float(np.mean([labels[one] != labels[other] for one, other in pairs]))


@dataclass(frozen=True)
class ErrorEstimate:
    """The share of merged labels that are probably wrong.

    Attributes
    ----------
    median : of the posterior
    low, high : its 2.5% and 97.5% quantiles
    """

    median: float
    low: float
    high: float


def estimate_error(
    share: float, labels: int, wrong: float = 0, judged: float = 0, *, ratio: Ratio = ERRORS, texts: float = np.inf
) -> ErrorEstimate:
    """Estimate how many merged labels are wrong.

    The prior of the error's logarithm is a Student's t around `ratio.mean` times the disagreement, cut off at the
    error of chance. The evidence is binomial, with an error that is somewhat higher, and at most that of chance.

    Parameters
    ----------
    share : how often two patterns disagree; see `disagreement`
    labels : number of labels
    wrong, judged : labeled texts that members left out: how many got a wrong label, and how many there are; fractions
        if texts count more or less
    ratio : errors for each disagreement, `ERRORS` or `SHARED_ERRORS`
    texts : number of texts that `share` is from. They count like one more, half of it a disagreement, and few of them
        make the prior wider, by the standard error of the share's logarithm; default: very many

    Examples
    --------
    >>> round(estimate_error(0.2, 2).median, 2)
    0.28
    >>> round(estimate_error(0.2, 2, wrong=60, judged=600).median, 2)  # many labeled texts decide
    0.1
    >>> estimate_error(0.0, 2, texts=1).high > 0.4  # that patterns agree about one text says nearly nothing
    True
    """
    noise = 0.0
    if np.isfinite(texts):
        share = (share * texts + 0.5) / (texts + 1)
        noise = (1 - share) / (share * texts)
    spread = np.sqrt(ratio.spread**2 + noise)
    chance = 1 - 1 / labels
    errors = np.geomspace(_LEAST * chance, chance, _GRID)
    center = np.log(np.clip(ratio.mean * share, errors[0], chance))
    prior = -2 * np.log1p(((np.log(errors) - center) / spread) ** 2 / 3)  # of the logarithm
    posterior = prior + _evidence(errors, chance, wrong, judged)
    weights = np.exp(posterior - posterior.max())
    quantiles = np.interp([0.5, 0.025, 0.975], np.cumsum(weights) / weights.sum(), errors)
    return ErrorEstimate(*map(float, quantiles))


def _evidence(errors: Array, chance: float, wrong: float, judged: float) -> Array:
    """Return the log-likelihood of labeled texts that members left out, for each error of the merged labels."""
    if not judged:
        return np.zeros_like(errors)
    spread = min(_MOST_LEFT_OUT, _LEFT_OUT * np.sqrt(1 / ((1 - chance) * judged)))
    more = np.linspace(-4, 4, _STEPS)  # standard deviations
    left_out = np.minimum(errors[:, None] * np.exp(spread * (0.5 + more)), chance)
    found = wrong * np.log(left_out) + (judged - wrong) * np.log1p(-left_out)
    most = found.max(axis=1, keepdims=True)
    return np.asarray(most[:, 0] + np.log(np.exp(found - most) @ np.exp(-(more**2) / 2)))


def best_scaled(likelihoods: Callable[[float], Array]) -> Array:
    """Return the log-likelihoods of texts with the factor of the scores that fits them best.

    Scores that are too sure, or not sure enough, then look no worse than they are.

    Parameters
    ----------
    likelihoods : returns the log-likelihood of each text's label, in nats, when scores are multiplied by a factor; NaN
        for texts that do not count

    Examples
    --------
    >>> from pet.numerics import log_sigmoid
    >>> best_scaled(lambda factor: log_sigmoid(factor * np.array([4.0, 4, 4, -4]))).round(2).tolist()  # 0.25 is best
    [-0.31, -0.31, -0.31, -1.31]
    """
    return max(map(likelihoods, _FACTORS), key=lambda found: float(np.nansum(found)))


def inverse_temperature(excess: Callable[[float], float]) -> float:
    """Return the factor that makes the mean confidence of merged scores equal to their accuracy.

    Parameters
    ----------
    excess : returns by how much the confidence is above the accuracy, if the scores are multiplied by a factor

    Returns
    -------
    float: 1 if no factor from e^-4 to e^4 does

    Examples
    --------
    >>> factor = inverse_temperature(lambda factor: mean_confidence(factor * np.array([[2.0, 0.0]])) - 0.731059)
    >>> round(factor, 3)
    0.5
    """
    from scipy.optimize import brentq

    def logarithmic(step: float) -> float:
        return excess(float(np.exp(step)))

    if logarithmic(-_FARTHEST) * logarithmic(_FARTHEST) >= 0:
        return 1.0
    return float(np.exp(brentq(logarithmic, -_FARTHEST, _FARTHEST, xtol=1e-6)))


def mean_confidence(scores: Array) -> float:
    """Return the mean probability of the most likely label; `scores` have the shape (rows, L)."""
    return float(np.exp(log_softmax(scores).max(axis=1)).mean())
