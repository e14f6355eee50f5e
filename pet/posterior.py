"""Draws of the confusion of labels on texts like those that were counted.

With two texts of each label, the share of a label's texts that were right is 0, 1/2 or 1. Neither random weights of
these texts nor a prior for each label by itself say much about other texts. So the labels inform each other (a
hierarchical model): the shares of right texts have a beta distribution whose mean and spread are unknown, and how
frequent the labels are has a Dirichlet distribution whose spread is unknown. With many texts of each label, this makes
no difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.confusion import Confusion
from pet.seeds import derive_seed

Array = NDArray[Any]

# What the parameters of the distributions over labels may be.
_SPREADS = np.geomspace(1, 200, 12)  # in texts: how much the mean of all labels counts for a label
_EVENNESS = np.geomspace(0.3, 300, 12)  # in texts of each label: how much equal frequencies count
_PRIOR = 0.75  # of right texts, and of wrong ones: between Jeffreys' prior (0.5) and a uniform one (1)
_STRAY = 1.0  # texts of each label whose errors were not seen


def confusion_draws(counts: Confusion, draws: int, most: int) -> Iterator[tuple[Array, Array, Array]]:
    """Yield what each label has of all texts, in draws from the posterior: right, gold, and predicted.

    Parameters
    ----------
    counts : texts that were counted, at least one
    draws : number of draws
    most : random numbers to draw at a time

    Yields
    ------
    Three float64 arrays of shape (rows, L): shares of all texts. They depend only on the counts.

    Examples
    --------
    >>> ((hits, support, claimed),) = confusion_draws(Confusion.read([[3, 1], [0, 4]]), 500, 10**6)
    >>> hits.shape, bool(np.allclose(support.sum(axis=1), 1)), bool(np.allclose(claimed.sum(axis=1), 1))
    ((500, 2), True, True)
    """
    generator = np.random.default_rng(derive_seed(0, "confusion"))
    labels, texts, right = counts.labels, counts.support, counts.hits
    wrong, each = counts.gold != counts.predicted, np.arange(labels)
    # Errors that were not seen go to the next label: one cell a label, however many labels there are.
    gold = np.concatenate([counts.gold[wrong], each])
    predicted = np.concatenate([counts.predicted[wrong], (each + 1) % labels])
    weight = np.concatenate([counts.count[wrong], np.full(labels, _STRAY)])
    evenness, shares = _evenness(texts), _SharesRight(texts, right)
    rows = max(1, most // (len(gold) + 2 * labels))
    for start in range(0, draws, rows):
        size = min(rows, draws - start)
        support = generator.standard_gamma(texts + generator.choice(_EVENNESS, (size, 1), p=evenness))
        support /= support.sum(axis=1, keepdims=True)
        hits = support * shares.draw(generator, size)
        errors = generator.standard_gamma(weight, (size, len(weight)))
        errors *= ((support - hits) / sums_by_label(gold, errors, labels))[:, gold]
        yield hits, support, hits + sums_by_label(predicted, errors, labels)


def _evenness(texts: Array) -> Array:
    """Return the probability of each of `_EVENNESS`: Dirichlet-multinomial likelihood of the labels' texts."""
    from scipy.special import gammaln

    labels, (found, times) = len(texts), np.unique(texts, return_counts=True)
    whole = gammaln(labels * _EVENNESS) - gammaln(labels * _EVENNESS + texts.sum())
    return _normalized(whole + (gammaln(found[:, None] + _EVENNESS) - gammaln(_EVENNESS)).T @ times)


class _SharesRight:
    """Posterior of the share of right texts of each label.

    Given the spread, the mean over labels has a beta posterior. The more labels differ, the less it
    learns from further texts of the same label. The likelihood of a spread is beta-binomial, at this mean.
    """

    def __init__(self, texts: Array, right: Array):
        from scipy.special import betaln

        self.texts, self.right = texts, right
        found, times = np.unique(np.stack([right, texts - right]), axis=1, return_counts=True)
        worth = (_SPREADS + 1) / (_SPREADS + found.sum(axis=0)[:, None])  # of a text; shape (pairs, spreads)
        self.first, self.second = _PRIOR + (found[:, :, None] * worth * times[:, None]).sum(axis=1)
        mean = self.first / (self.first + self.second)
        ends = _SPREADS * mean, _SPREADS * (1 - mean)
        likelihood = betaln(found[0][:, None] + ends[0], found[1][:, None] + ends[1]) - betaln(*ends)
        self.spreads = _normalized(times @ likelihood)

    def draw(self, generator: np.random.Generator, rows: int) -> Array:
        """Return draws of shape (rows, L)."""
        which = generator.choice(len(_SPREADS), (rows, 1), p=self.spreads)
        mean, spread = generator.beta(self.first[which], self.second[which]), _SPREADS[which]
        return generator.beta(self.right + spread * mean, self.texts - self.right + spread * (1 - mean))


def _normalized(logs: Array) -> Array:
    shares = np.exp(logs - logs.max())
    return np.asarray(shares / shares.sum())


def sums_by_label(label: Array, shares: Array, labels: int) -> Array:
    """Return the sums of the columns of each label.

    Parameters
    ----------
    label : int array of shape (cells,)
    shares : array of shape (rows, cells)
    labels : number of labels L

    Returns
    -------
    float64 array of shape (rows, L)

    Examples
    --------
    >>> sums_by_label(np.array([1, 0, 1]), np.array([[1.0, 2.0, 3.0]]), 3).tolist()
    [[2.0, 4.0, 0.0]]
    """
    out = np.zeros((len(shares), labels))
    if len(label):
        order = np.argsort(label, kind="stable")
        there, first = np.unique(label[order], return_index=True)
        out[:, there] = np.add.reduceat(shares[:, order], first, axis=1)
    return out
