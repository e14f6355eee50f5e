"""Texts that fit no label: those that are farther from the labeled texts than labeled texts are from each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pet.data.checks import column_labels
from pet.errors import PetError
from pet.inference.ensemble import SavedEnsemble
from pet.progress import Reporter
from pet.run.inputs import load_data
from pet.run.load_run import read_settings
from pet.store.tables import OutputColumn
from pet.task.task import one_label_only

if TYPE_CHECKING:
    from datasets import Dataset

Array = NDArray[Any]
EMBEDDINGS, MASS = "embeddings", "mass"
FIT = OutputColumn("fit", pa.float64())  # in the file of soft labels


@dataclass(frozen=True)
class NoneOfThese:
    """Which texts to leave out because they fit no label.

    Attributes
    ----------
    share : largest share of the labeled texts that would be left out
    by : ``embeddings``: cosine of the text and the mean of the nearest label's texts, by an encoder that was not
        trained; or ``mass``: log of the probability of all label words at the blank, relative to a text without
        content, as the mean over the patterns
    """

    share: float
    by: str = EMBEDDINGS

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise PetError(
                f"--none-of-these is {self.share}; it is the share of the labeled texts that may be left out, such as "
                "0.05: at least 0 and below 1"
            )


@dataclass(frozen=True)
class FitThreshold:
    """How well a text must fit the labels.

    Attributes
    ----------
    measure : returns how well each text of a table fits, shape (rows,)
    least : texts below are left out
    labeled, dropped : number of labeled texts, and how many of them are below
    """

    measure: Callable[[Dataset], Array]
    least: float
    labeled: int
    dropped: int


def fit_threshold(ensemble: SavedEnsemble, run: Path, asked: NoneOfThese, reporter: Reporter) -> FitThreshold:
    """Measure how well the labeled texts of a run fit their labels, and return the threshold that follows.

    Parameters
    ----------
    ensemble : the ensemble of the run
    run : folder of the run
    asked : the measure, and the share of the labeled texts that may be below the threshold
    reporter : gets warnings about the labeled texts

    Raises
    ------
    PetError
        If texts may have several labels, or the run has no labeled texts or their file is gone.
    """
    one_label_only(ensemble.task, "--none-of-these", "leave it out")
    settings = read_settings(run)
    if settings.train is None:
        raise PetError(f"{run}: --none-of-these compares texts with the labeled texts, and this run has none")
    train = load_data(replace(settings, unlabeled=None, test=None), ensemble.task, reporter).train
    if train is None:
        raise PetError(f"{run}: --none-of-these compares texts with the labeled texts, and this run used none")
    if asked.by == MASS:
        measure, own = ensemble.mass, ensemble.mass(train)
    else:
        gold, vectors = column_labels(train), unit_rows(ensemble.vectors(train))
        centers, own = label_centers(vectors, gold), held_out_fit(vectors, gold)

        def measure(table: Dataset) -> Array:
            return np.asarray((unit_rows(ensemble.vectors(table)) @ centers.T).max(axis=1))

    least = float(np.sort(own)[int(asked.share * len(own))])
    return FitThreshold(measure, least, len(own), int((own < least).sum()))


def unit_rows(vectors: Array) -> Array:
    """Return rows of length 1; a row of zeros stays as it is."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1))


def label_centers(vectors: Array, gold: Array) -> Array:
    """Return the mean direction of the texts of each label that has some: shape (labels, D).

    Parameters
    ----------
    vectors : unit rows, shape (rows, D)
    gold : int labels of shape (rows,)
    """
    return unit_rows(np.stack([vectors[gold == label].sum(axis=0) for label in np.unique(gold)]))


def held_out_fit(vectors: Array, gold: Array) -> Array:
    """Return how close each labeled text is to the nearest label, whose mean is that of its other texts.

    Parameters
    ----------
    vectors, gold : see `label_centers`

    Returns
    -------
    array of shape (rows,); a text that is the only one of its label is compared with the other labels, and -1 if there
    are none

    Examples
    --------
    >>> vectors = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.0, 1.0]])
    >>> held_out_fit(vectors, np.array([0, 0, 1, 1])).round(3).tolist()
    [0.8, 0.8, 1.0, 1.0]
    """
    labels, places = np.unique(gold, return_inverse=True)
    sums = np.stack([vectors[gold == label].sum(axis=0) for label in labels])
    found = vectors @ unit_rows(sums).T
    rows, others = np.arange(len(gold)), sums[places] - vectors
    alone = np.bincount(places)[places] == 1
    found[rows, places] = np.where(alone, -1.0, (vectors * unit_rows(others)).sum(axis=1))
    return np.asarray(found.max(axis=1))
