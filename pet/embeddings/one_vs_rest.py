"""Logistic regressions for texts that may have several labels: one for each label."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from pet.embeddings.logistic import (
    DEFAULT_STRENGTH,
    FILE,
    NEGLIGIBLE,
    STRENGTHS,
    Logistic,
    fit_logistic,
    fitted_row,
)
from pet.embeddings.span import in_own_span
from pet.errors import PetError
from pet.task.task import Task
from pet.training.losses import class_weights

Array = NDArray[Any]
_FOLDS = 4


@dataclass(frozen=True)
class OneVsRest:
    """Fitted logistic regressions.

    Attributes
    ----------
    weight : float32 array of shape (L, D)
    bias : float32 array of shape (L,)
    """

    weight: Array
    bias: Array

    def scores(self, features: Any) -> Array:
        """Return the float64 log-odds of each label, shape (rows, L), for features of shape (rows, D)."""
        return np.asarray(features @ self.weight.T, dtype=np.float64) + self.bias

    def save(self, folder: Path) -> None:
        """Write the model to a file in the folder."""
        values = {"weight": self.weight, "bias": self.bias}
        save_file({name: np.ascontiguousarray(value, np.float32) for name, value in values.items()}, folder / FILE)

    @classmethod
    def load(cls, folder: Path, labels: int) -> OneVsRest:
        """Read the model that `save` wrote. Raises PetError if its file is damaged or has other labels."""
        try:
            values = load_file(folder / FILE)
            model = cls(values["weight"], values["bias"])
        except (OSError, KeyError, SafetensorError) as error:
            raise PetError(f"{folder / FILE}: cannot be read ({error}); train this member again") from error
        if model.bias.shape != (labels,) or model.weight.shape[:1] != (labels,):
            raise PetError(f"{folder / FILE}: does not have {labels} labels; train this member again")
        return model


def fit_one_vs_rest(features: Any, targets: Array, seed: int = 0) -> tuple[OneVsRest, float]:
    """Fit a logistic regression for each label; all have the same regularization, chosen by cross-validation.

    A label that no text has, or every text, gets the log-odds that Laplace's rule of succession gives it.

    Parameters
    ----------
    features : dense or sparse matrix of shape (rows, D)
    targets : 0 or 1 for each label, or probabilities, shape (rows, L)
    seed : random seed of the folds

    Returns
    -------
    model : OneVsRest
    strength : float
        The chosen ``C`` of scikit-learn: the inverse of the regularization strength.

    Examples
    --------
    >>> features = np.array([[0.0], [0.1], [0.9], [1.0]])
    >>> model, _ = fit_one_vs_rest(features, np.array([[0, 0], [0, 0], [1, 0], [1, 0]]))
    >>> (model.scores(features) > 0).tolist()
    [[False, False], [False, False], [True, False], [True, False]]
    """
    features, restored = in_own_span(features)
    certain = np.rint(targets).astype(np.int64)
    strength = _choose_strength(features, certain, seed) if np.array_equal(certain, targets) else DEFAULT_STRENGTH
    model = _fit(features, np.asarray(targets, dtype=np.float64), strength)
    return replace(model, weight=restored(model.weight).astype(np.float32)), strength


def _fit(features: Any, targets: Array, strength: float) -> OneVsRest:
    rows, labels = targets.shape
    weight, bias = np.zeros((labels, features.shape[1]), np.float32), np.zeros(labels, np.float32)
    for label in range(labels):
        own = targets[:, label]
        if (own > NEGLIGIBLE).any() and (1 - own > NEGLIGIBLE).any():
            weight[label], bias[label] = fitted_row(features, own, strength)
        else:
            share = (own.sum() + 1) / (rows + 2)
            bias[label] = np.log(share / (1 - share))
    return OneVsRest(weight, bias)


def _choose_strength(features: Any, targets: Array, seed: int) -> float:
    """Return the ``C`` with the highest cross-validated likelihood of all decisions, the smallest of equals."""
    rows = len(targets)
    if rows < 2 * _FOLDS:
        return DEFAULT_STRENGTH
    fold = np.random.default_rng(seed).permutation(rows) % _FOLDS
    likelihood = dict.fromkeys(STRENGTHS, 0.0)
    for number in range(_FOLDS):
        kept, held = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        for strength in likelihood:
            logits = _fit(features[kept], targets[kept].astype(np.float64), strength).scores(features[held])
            likelihood[strength] -= float((np.logaddexp(0, logits) - targets[held] * logits).sum())
    return max(likelihood, key=lambda strength: likelihood[strength])


def fit_regression(
    features: Any, targets: Array, task: Task, seed: int, *, balanced: bool = False
) -> tuple[Logistic | OneVsRest, float]:
    """Fit what predicts one label of each text, or any number for a multi-label task; return it and its ``C``.

    With `balanced`, every label counts the same, however few texts it has. It does not apply to multi-label tasks.

    If each text has one label, a label without examples gets the probability 1 / L in every text. With less, members
    that know its words could not make up for it when their scores are multiplied.
    """
    if task.multi_label:
        return fit_one_vs_rest(features, targets, seed)
    weights = class_weights(targets, len(task.labels)) if balanced else None
    model, strength = fit_logistic(features, targets, len(task.labels), seed, weights=weights)
    return replace(model, unseen=np.where(model.unseen > 0, np.float32(1 / len(task.labels)), 0)), strength


def load_regression(folder: Path, task: Task) -> Logistic | OneVsRest:
    """Read what `fit_regression` fitted and its method `save` wrote."""
    return (OneVsRest if task.multi_label else Logistic).load(folder, len(task.labels))
