"""Logistic regression on features of a few labeled texts, for members that are not language models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from pet.embeddings.span import in_own_span
from pet.errors import PetError
from pet.numerics import log_softmax
from pet.process import without_warnings

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

Array = NDArray[Any]
STRENGTHS = (1.0, 10.0, 100.0)  # candidates for the inverse regularization strength C, in ascending order
DEFAULT_STRENGTH = 10.0  # where there are too few examples to choose
_FOLDS = 4
_CROSS_FOLDS = 8
_ITERATIONS = 200
NEGLIGIBLE = 1e-3  # smaller probabilities of a label are left out
FILE = "regression.safetensors"


@dataclass(frozen=True)
class Logistic:
    """A fitted logistic regression.

    Attributes
    ----------
    weight : float32 array of shape (L, D)
    bias : float32 array of shape (L,)
    unseen : float32 array of shape (L,): probability of each label that had no example, 0 for the others
    """

    weight: Array
    bias: Array
    unseen: Array

    def log_probabilities(self, features: Any) -> Array:
        """Return float64 log-probabilities of shape (rows, L) for dense or sparse features of shape (rows, D).

        Examples
        --------
        >>> model = Logistic(np.array([[1.0], [-1.0], [0.0]]), np.zeros(3), np.array([0, 0, 0.2]))
        >>> np.exp(model.log_probabilities(np.array([[0.0], [1.0]]))).round(3).tolist()
        [[0.4, 0.4, 0.2], [0.705, 0.095, 0.2]]
        """
        seen = self.unseen == 0
        out = np.empty((features.shape[0], len(self.bias)))
        logits = np.asarray(features @ self.weight[seen].T, dtype=np.float64) + self.bias[seen]
        out[:, seen] = log_softmax(logits) + np.log1p(-self.unseen.sum(dtype=np.float64))
        out[:, ~seen] = np.log(self.unseen[~seen])
        return out

    def scores(self, features: Any) -> Array:
        """Return what a member's scores are: `log_probabilities`."""
        return self.log_probabilities(features)

    def save(self, folder: Path) -> None:
        """Write the model to a file in the folder."""
        values = {"weight": self.weight, "bias": self.bias, "unseen": self.unseen}
        save_file({name: np.ascontiguousarray(value, np.float32) for name, value in values.items()}, folder / FILE)

    @classmethod
    def load(cls, folder: Path, labels: int) -> Logistic:
        """Read the model that `save` wrote. Raises PetError if its file is damaged or has other labels."""
        try:
            values = load_file(folder / FILE)
            model = cls(values["weight"], values["bias"], values["unseen"])
        except (OSError, KeyError, SafetensorError) as error:
            raise PetError(f"{folder / FILE}: cannot be read ({error}); train this member again") from error
        if model.bias.shape != (labels,) or model.unseen.shape != (labels,) or model.weight.shape[:1] != (labels,):
            raise PetError(f"{folder / FILE}: does not have {labels} labels; train this member again")
        return model


def fit_logistic(
    features: Any,
    targets: Array,
    labels: int,
    seed: int = 0,
    strength: float | None = None,
    *,
    weights: Array | None = None,
) -> tuple[Logistic, float]:
    """Fit a logistic regression, and choose its regularization by cross-validation on the same rows.

    If a label has only one example, cross-validation is impossible, and ``C`` is `DEFAULT_STRENGTH`. A label without
    an example gets the probability that Laplace's rule of succession gives it.

    Parameters
    ----------
    features : dense or sparse matrix of shape (rows, D)
    targets : int labels of shape (rows,), or probabilities of shape (rows, L)
    labels : number of labels, L
    seed : random seed of the folds
    strength : ``C``; default: chosen by cross-validation
    weights : weight of each label, shape (L,); default: 1

    Returns
    -------
    model : Logistic
    strength : float
        The chosen ``C`` of scikit-learn: the inverse of the regularization strength.
    """
    features, restored = in_own_span(features)
    if targets.ndim == 2:
        rows, codes, shares = _expand(targets)
        strength = DEFAULT_STRENGTH if strength is None else strength
        counted = shares if weights is None else shares * weights[codes]
        model = _fit(features[rows], codes, labels, strength, counted)
    else:
        strength = choose_strength(features, targets, seed) if strength is None else strength
        model = _fit(features, targets, labels, strength, None if weights is None else weights[targets])
    return replace(model, weight=restored(model.weight).astype(np.float32)), strength


def choose_strength(features: Any, codes: Array, seed: int = 0) -> float:
    """Return the ``C`` in `STRENGTHS` with the highest cross-validated log-likelihood, the smallest of equals."""
    from sklearn.model_selection import StratifiedKFold

    folds = min(_FOLDS, int(np.bincount(codes)[np.unique(codes)].min()))
    if folds < 2 or len(np.unique(codes)) < 2:
        return DEFAULT_STRENGTH
    likelihood = dict.fromkeys(STRENGTHS, 0.0)
    for kept, held in StratifiedKFold(folds, shuffle=True, random_state=_generator(seed)).split(codes, codes):
        for strength in likelihood:
            model = _regression(features[kept], codes[kept], strength)
            places = np.searchsorted(model.classes_, codes[held])
            likelihood[strength] += float(model.predict_log_proba(features[held])[np.arange(len(held)), places].sum())
    return max(likelihood, key=lambda strength: likelihood[strength])


def cross_fit(features: Any, codes: Array, labels: int, seed: int = 0) -> tuple[Array, list[Logistic]]:
    """Fit a logistic regression without each fold of the rows, and predict that fold.

    Parameters
    ----------
    features, codes, labels, seed : as for `fit_logistic`, with int labels

    Returns
    -------
    predictions : float64 array of shape (rows, L)
        Log-probabilities of each row from a model that did not learn from it. NaN for a row that is the only one of its
        label.
    models : list of Logistic
        One for each fold. The mean of their predictions for other texts compares with `predictions`.
    """
    from sklearn.model_selection import StratifiedKFold

    predictions = np.full((len(codes), labels), np.nan)
    models: list[Logistic] = []
    alone = np.flatnonzero(np.bincount(codes, minlength=labels) == 1)
    shared = np.flatnonzero(~np.isin(codes, alone))
    single = np.flatnonzero(np.isin(codes, alone))
    if not len(shared):
        return predictions, models
    strength = choose_strength(features, codes, seed)
    folds = StratifiedKFold(
        min(_CROSS_FOLDS, int(np.bincount(codes[shared]).max())), shuffle=True, random_state=_generator(seed)
    )
    with without_warnings():  # a label with fewer rows than folds is in some of them
        splits = list(folds.split(shared, codes[shared]))
    for kept, held in splits:
        rows = np.concatenate([shared[kept], single])
        models.append(_fit(features[rows], codes[rows], labels, strength))
        predictions[shared[held]] = models[-1].log_probabilities(features[shared[held]])
    return predictions, models


def _generator(seed: int) -> np.random.RandomState:
    return np.random.RandomState(np.random.MT19937(seed))  # scikit-learn takes no seeds above 32 bits


def _regression(features: Any, codes: Array, strength: float, weights: Array | None = None) -> LogisticRegression:
    from sklearn.linear_model import LogisticRegression

    with without_warnings():  # stopping a few iterations early changes no label
        return LogisticRegression(C=strength, max_iter=_ITERATIONS).fit(features, codes, weights)


def fitted_row(features: Any, share: Array, strength: float) -> tuple[Array, float]:
    """Fit a logistic regression of two labels.

    Parameters
    ----------
    features : dense or sparse matrix of shape (rows, D)
    share : probability of the second label in each row, shape (rows,); not all 0 and not all 1
    strength : ``C``

    Returns
    -------
    weights of shape (D,), and a constant: together the log-odds of the second label
    """
    rows, codes, weights = _expand(np.stack([1 - share, share], axis=1))
    model = _regression(features[rows], codes, strength, weights)
    return model.coef_[0], float(model.intercept_[0])


def _fit(features: Any, codes: Array, labels: int, strength: float, weights: Array | None = None) -> Logistic:
    """Fit with a fixed strength. Each label without an example gets the probability 1 / (rows + L)."""
    seen = np.unique(codes)
    weight, bias = np.zeros((labels, features.shape[1]), np.float32), np.zeros(labels, np.float32)
    unseen = np.full(labels, 1 / (features.shape[0] + labels), np.float32)
    unseen[seen] = 0
    if len(seen) > 1:
        model = _regression(features, codes, strength, weights)
        rows, constants = model.coef_, model.intercept_
        if len(seen) == 2:  # scikit-learn keeps one row for two labels
            rows, constants = np.concatenate([-rows, rows]) / 2, np.concatenate([-constants, constants]) / 2
        weight[seen], bias[seen] = rows, constants
    return Logistic(weight, bias, unseen)


def _expand(targets: Array) -> tuple[Array, Array, Array]:
    """Return rows, labels and weights of a training set with one example for each likely label of each row."""
    rows, codes = np.nonzero(targets > NEGLIGIBLE)
    return rows, codes, targets[rows, codes]
