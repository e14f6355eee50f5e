"""From the members' scores to one: weighted means of raw scores, softmax afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.numerics import softmax

Array = NDArray[Any]


def member_weights(accuracies: Sequence[float] | None, members: int, merge: str = "weighted") -> Array:
    """Weights of the members, adding up to 1.

    Parameters
    ----------
    accuracies : accuracy of each member on the training set before training (arXiv 2001.07676, section
        3.3); None where there is no training set
    members : how many there are
    merge : ``weighted`` or ``uniform``

    Returns
    -------
    float64 array of shape (members,). Uniform, too, where all accuracies are 0.
    """
    if members < 1:
        raise ValueError("an ensemble has at least one member")
    if merge == "weighted" and accuracies is not None and sum(accuracies) > 0:
        weights = np.asarray(accuracies, dtype=np.float64)
        return weights / np.sort(weights).sum()
    return np.full(members, 1 / members)


def merge_scores(scores: Sequence[Array], weights: Array) -> Array:
    """Weighted mean of raw label scores.

    Parameters
    ----------
    scores : for each member an array of shape (rows, L)
    weights : shape (members,)

    Returns
    -------
    float64 array of shape (rows, L). The order of the members does not matter, to the last bit: each
    number, and the sum of the weights, is summed in ascending order of its terms.

    Examples
    --------
    The first member counts three times as much as the second:

    >>> first, second = np.array([[2.0, 0.0]]), np.array([[0.0, 4.0]])
    >>> merge_scores([first, second], np.array([0.75, 0.25]))
    array([[1.5, 1. ]])
    """
    weights = np.asarray(weights, dtype=np.float64)
    shares = weights / np.sort(weights).sum()
    terms = np.stack([np.asarray(s, dtype=np.float64) * w for s, w in zip(scores, shares, strict=True)])
    return np.asarray(np.sort(terms, axis=0).sum(axis=0))


def prior_correction(scores: Array, target: Array, rounds: int = 200) -> Array:
    """A bias for each label that makes the mean prediction over many texts equal to a known class ratio.

    A language model prefers some words whatever the text; with few examples that preference outlives the
    training. Where the ratio of the labels in the pool is known, adding this bias to the merged scores takes
    it away. The fixed point is that of the EM re-estimation of priors (Saerens et al. 2002, Neural Computation
    14) run backwards: the prior is given and the bias is sought.

    Parameters
    ----------
    scores : raw scores of shape (rows, L)
    target : shape (L,), above 0, adding up to 1; the ratio of the labels
    rounds : at most so many repetitions of ``b += log(target) - log(mean softmax(scores + b))``

    Returns
    -------
    float64 array of shape (L,), adding up to 0
    """
    scores = np.asarray(scores, dtype=np.float64)
    goal = np.log(np.asarray(target, dtype=np.float64))
    bias = np.zeros(scores.shape[1])
    for _ in range(rounds):
        step = goal - np.log(softmax(scores + bias).mean(axis=0))
        bias += step - step.mean()
        if np.abs(step).max() < 1e-6:
            break
    return bias
