"""The last step of a student: it names no label clearly more or less often than its soft labels do.

A student that has not quite reached its soft labels may prefer some label. One number for each label takes that away,
and the texts that tell whether the student needs another round tell the numbers, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import wrightomega

from pet.numerics import sigmoid, softmax
from pet.student.classifier import Classifier
from pet.student.start import output_layer

Array = NDArray[Any]
CLEAR = 0.03  # of the probabilities on other labels. Smaller shifts did not make students better (benchmarks/README.md)
_ROUNDS, _EXACT = 200, 1e-6
_HALVINGS = 50
_TINY = 1e-300
_LARGEST = 20.0  # of the numbers for independent labels


def misplaced(scores: Array, targets: Array, *, independent: bool = False) -> float:
    """Return how much of its mean probabilities a student puts on other labels than its soft labels do.

    Parameters
    ----------
    scores : of the student, shape (rows, L)
    targets : soft labels, shape (rows, L)
    independent : whether each label applies or not, whatever the others do

    Examples
    --------
    >>> round(misplaced(np.zeros((4, 2)), np.tile([0.8, 0.2], (4, 1))), 3)  # half of the probability instead of a fifth
    0.3
    """
    found = (sigmoid if independent else softmax)(scores).mean(axis=0)
    wanted = np.asarray(targets, dtype=np.float64).mean(axis=0)
    return float(np.abs(found - wanted).sum() / 2 / max(wanted.sum(), _TINY))


def fitting_bias(scores: Array, targets: Array, *, independent: bool = False) -> Array:
    """Return what to add to the scores of each label.

    It minimizes the cross-entropy of the soft labels, summed over texts, plus half of its own squared length. Without
    this penalty, the mean probabilities of the student would be those of the soft labels; with it, a label that none of
    the texts has is not ruled out. Each round minimizes the upper bound of generalized iterative scaling (Darroch and
    Ratcliff 1972, Ann. Math. Stat. 43): with the change d of the bias b, the sum of the student's probabilities f, and
    that of the soft labels w, it solves f exp(d) - w + b + d = 0 for each label.

    Parameters
    ----------
    scores : of the student, shape (rows, L)
    targets : soft labels, shape (rows, L)
    independent : whether each label applies or not, whatever the others do

    Returns
    -------
    float64 array of shape (L,)

    Examples
    --------
    >>> even, unsure = np.zeros((300, 2)), np.tile([0.7, 0.3], (300, 1))
    >>> softmax(even + fitting_bias(even, unsure)).mean(axis=0).round(2).tolist()
    [0.7, 0.3]
    >>> fitting_bias(even[:1], np.array([[1.0, 0.0]])).round(2).tolist()  # one text is weak evidence
    [0.34, -0.34]
    """
    scores, wanted = np.asarray(scores, dtype=np.float64), np.asarray(targets, dtype=np.float64).sum(axis=0)
    if independent:
        return _independent_bias(scores, wanted)
    bias = np.zeros(scores.shape[1])
    for _ in range(_ROUNDS):
        found = softmax(scores + bias).sum(axis=0)
        change = wanted - bias - wrightomega(wanted - bias + np.log(np.maximum(found, _TINY)))
        bias += change - change.mean()  # the same for all labels changes nothing
        if np.abs(change).max() < _EXACT:
            break
    return bias


def _independent_bias(scores: Array, wanted: Array) -> Array:
    """Return the numbers at which the slope of the penalized cross-entropy of each label is 0, by halving intervals."""
    low, high = np.full(len(wanted), -_LARGEST), np.full(len(wanted), _LARGEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        rising = sigmoid(scores + middle).sum(axis=0) - wanted + middle > 0
        low, high = np.where(rising, low, middle), np.where(rising, middle, high)
    return (low + high) / 2


def shift_scores(classifier: Classifier, bias: Array) -> bool:
    """Add a number to the scores of each label.

    Parameters
    ----------
    classifier : its output layer is changed
    bias : shape (L,)

    Returns
    -------
    bool: False, with nothing changed, if the model does not end in a linear layer with a bias and one output per label
    """
    name = output_layer(classifier.model, len(classifier.labels))
    layer = None if name is None else classifier.model.get_submodule(name)
    if layer is None or layer.bias is None:
        return False
    with torch.no_grad():
        layer.bias += torch.from_numpy(bias).to(layer.bias)
    return True
