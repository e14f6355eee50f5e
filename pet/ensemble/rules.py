"""Merging rules: how much each member counts, and how their scores become one.

A rule is one entry of `RULES`: where the weights come from, and the merge itself, which need not be linear.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
# Scores of shape (members, rows, L), NaN rows abstaining, and weights of shape (members,) -> shape (rows, L).
Merge = Callable[[Array, Array], Array]
# Accuracy of each member before training, None where it is unknown -> weights that add up to 1, shape (members,).
Weigh = Callable[[Sequence["float | None"]], Array]


@dataclass(frozen=True)
class Rule:
    """A merging rule.

    Attributes
    ----------
    name : the value of the setting ``merge``
    weigh : the members' weights
    merge : the members' scores as one
    """

    name: str
    weigh: Weigh
    merge: Merge


def uniform_weights(accuracies: Sequence[float | None]) -> Array:
    """Return the same weight for every member."""
    if not accuracies:
        raise ValueError("an ensemble has at least one member")
    return np.full(len(accuracies), 1 / len(accuracies))


def accuracy_weights(accuracies: Sequence[float | None]) -> Array:
    """Weights in proportion to the accuracy on the training set before training (arXiv 2001.07676, section 3.3).

    A member whose accuracy is unknown gets the mean of the others'. If none is known, or all are 0, the weights
    are uniform.

    Examples
    --------
    >>> accuracy_weights([0.6, 0.2]).round(3).tolist()
    [0.75, 0.25]
    """
    known = [accuracy for accuracy in accuracies if accuracy is not None]
    if not known or sum(known) <= 0:
        return uniform_weights(accuracies)
    mean = sum(known) / len(known)
    weights = np.asarray([mean if accuracy is None else accuracy for accuracy in accuracies], dtype=np.float64)
    return np.asarray(weights / np.sort(weights).sum())


def weighted_mean(scores: Array, weights: Array) -> Array:
    """Weighted mean of scores over the members that do not abstain; zeros where all abstain.

    The order of the members does not matter, to the last bit: every number, and the sum of the weights, is summed
    in ascending order of its terms.

    Examples
    --------
    >>> scores = np.array([[[2.0, 0.0], [0.0, 1.0]], [[-1.0, 1.0], [4.0, 0.0]]])
    >>> weighted_mean(scores, np.array([0.75, 0.25])).tolist()
    [[1.25, 0.25], [1.0, 0.75]]
    """
    abstains = np.asarray(np.isnan(scores).any(axis=2))
    if not abstains.any():
        shares = weights / np.sort(weights).sum()
        return np.asarray(np.sort(scores * shares[:, None, None], axis=0).sum(axis=0))
    shares = np.where(abstains, 0.0, weights[:, None])
    totals = np.sort(shares, axis=0).sum(axis=0)
    shares = shares / np.where(totals > 0, totals, 1.0)
    terms = np.where(abstains[:, :, None], 0.0, np.nan_to_num(scores)) * shares[:, :, None]
    return np.asarray(np.sort(terms, axis=0).sum(axis=0))


def weighted_sum(scores: Array, weights: Array) -> Array:
    """Weighted sum of scores, relative to the sum of all weights; members that abstain add nothing.

    Unlike in a mean, a member that abstains does not make the others count more: it is no evidence for any label.

    Examples
    --------
    >>> scores = np.array([[[2.0, 0.0], [np.nan, np.nan]], [[-1.0, 1.0], [4.0, 0.0]]])
    >>> weighted_sum(scores, np.array([0.75, 0.25])).tolist()
    [[1.25, 0.25], [1.0, 0.0]]
    """
    abstains = np.asarray(np.isnan(scores).any(axis=2))
    return weighted_mean(np.where(abstains[:, :, None], 0.0, scores), weights)


RULES: Mapping[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule("weighted", accuracy_weights, weighted_mean),
        Rule("uniform", uniform_weights, weighted_mean),
        Rule("learned", uniform_weights, weighted_sum),  # see pet.ensemble.stacking
    )
}
