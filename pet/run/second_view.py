"""A second view of the pool: what vectors of an encoder that is not trained say about pseudo-labels.

Members share a backbone and its mistakes, so their agreement is no evidence. Vectors of the untrained encoder do not
see the patterns. They show whether similar texts get the same label.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.embeddings.logistic import fit_logistic
from pet.ipet.ranked import DIGITS, cut_statistic, kappa, nearest
from pet.numerics import unit_length
from pet.run.context import RunContext
from pet.seeds import derive_seed

Array = NDArray[Any]
NEIGHBORS = 20
FOLDS = 4
MOST_ROWS = 5000  # pseudo-labeled texts that a classifier is trained on
STRENGTH = 1.0  # C of the logistic regression; pseudo-labels are noisy


@dataclass(frozen=True)
class Opinion:
    """What the second view says about a labeling of the pool.

    Attributes
    ----------
    probabilities : float64 array of shape (rows, L), of a classifier on vectors. It was trained on the labeled texts
        and on the labeling itself, but never on the row that it predicts
    cut : cut statistic of each row, shape (rows,); see `pet.ipet.ranked.cut_statistic`
    kappa : agreement of the classifier with the labeling beyond chance
    """

    probabilities: Array
    cut: Array
    kappa: float


@dataclass
class SecondView:
    """Vectors of the pool and what they say about labelings.

    Attributes
    ----------
    context : the run
    """

    context: RunContext

    @cached_property
    def _vectors(self) -> Array:
        vectors = self.context.shared.vectors(self.context.texts("pool"))
        self.context.shared.models.forget()  # members may be trained in other processes
        return vectors

    @cached_property
    def _labeled(self) -> tuple[Array, Array]:
        """Vectors and labels of the labeled texts."""
        if not self.context.has("train"):
            return self._vectors[:0], np.zeros(0, dtype=np.int64)
        train = self.context.texts("train")
        vectors = self.context.shared.vectors(train)
        self.context.shared.models.forget()
        return vectors, train.labels

    @cached_property
    def _neighbors(self) -> tuple[Array, Array]:
        """Neighbors of each text of the pool. The mean vector, which all texts have in common, is subtracted first."""
        return nearest(unit_length(self._vectors - self._vectors.mean(axis=0)), NEIGHBORS)

    def opinion(self, label: Array) -> Opinion:
        """Return what this view says about a labeling of the pool.

        Parameters
        ----------
        label : int array of shape (rows,), positions in the task's labels
        """
        labels = len(self.context.task.labels)
        probabilities = np.round(self._out_of_fold(label), DIGITS)
        cut = np.round(cut_statistic(label, *self._neighbors, labels), DIGITS)
        agreement = kappa(label, probabilities.argmax(axis=1), labels)
        return Opinion(probabilities, cut, round(agreement, DIGITS))

    def referee(self, one: Array, other: Array) -> Array:
        """Predict the pool with a classifier that favors neither of two labelings.

        It is trained on the texts on which they agree, and on the labeled texts. Only its predictions for the other
        texts distinguish between the labelings.

        Parameters
        ----------
        one, other : int arrays of shape (rows,), positions in the task's labels

        Returns
        -------
        int64 array of shape (rows,): the most probable label of each text
        """
        rows = np.flatnonzero(one == other)
        rows = rows[:: max(1, len(rows) // MOST_ROWS)]
        gold_vectors, gold = self._labeled
        vectors, labels = np.concatenate([self._vectors[rows], gold_vectors]), np.concatenate([one[rows], gold])
        if not len(labels):
            return one  # nothing to learn from, so nothing against the first
        model, _ = fit_logistic(vectors, labels, len(self.context.task.labels), strength=STRENGTH)
        return np.asarray(model.log_probabilities(self._vectors).argmax(axis=1))

    def _out_of_fold(self, label: Array) -> Array:
        """Predict every row of the pool with a classifier that was trained on the other folds."""
        labels, (gold_vectors, gold) = len(self.context.task.labels), self._labeled
        generator = np.random.default_rng(derive_seed(self.context.settings.seed, "second view"))
        fold = generator.permutation(len(label)) % FOLDS
        out = np.empty((len(label), labels))
        for number in range(FOLDS):
            held = fold == number
            rows = np.flatnonzero(~held)
            rows = rows[:: max(1, len(rows) // MOST_ROWS)]
            vectors = np.concatenate([self._vectors[rows], gold_vectors])
            if not len(vectors):  # the only text of the pool, and no labeled ones
                out[held] = 1 / labels
                continue
            model, _ = fit_logistic(vectors, np.concatenate([label[rows], gold]), labels, strength=STRENGTH)
            out[held] = np.exp(model.log_probabilities(self._vectors[held]))
        return out
