"""Texts that fit no label: those that are farther from the labeled texts than labeled texts are from each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pet.data.checks import column_labels
from pet.data.pick import pick_rows
from pet.embeddings.fit import held_out_fit, label_centers, least_fit, nearest_fit
from pet.errors import PetError
from pet.inference.ensemble import SavedEnsemble, open_ensemble
from pet.inference.options import ComputeOptions
from pet.inference.place import run_of
from pet.numerics import unit_length
from pet.progress import Reporter
from pet.resources import expand
from pet.run.finished_texts import check_sources, read_texts
from pet.run.load_run import read_settings
from pet.store.tables import OutputColumn

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

    def text(self, foreign: int, texts: int) -> str:
        """Say how many texts were left out, and how many labeled texts would be.

        Parameters
        ----------
        foreign, texts : how many texts were left out, of how many
        """
        return (
            f"{foreign} of {texts} texts fit no label (fit below {self.least:.3f}) and were left out; so would "
            f"{self.dropped} of {self.labeled} labeled texts"
        )


def fit_of_classifier(name: str, share: float, compute: ComputeOptions, reporter: Reporter) -> FitThreshold:
    """Return how well texts must fit the labels of a run, for its student; see `fit_threshold`.

    The fit is measured by embeddings, with the encoder of the run, so it is the same as in `pet label`.

    Parameters
    ----------
    name : folder of the run, or of its student
    share : largest share of the labeled texts that would be left out
    compute : device and so on
    reporter : gets warnings about the labeled texts

    Raises
    ------
    PetError
        If the classifier is not that of a run, or as `fit_threshold` does.
    """
    asked, run = NoneOfThese(share), run_of(expand(name))
    if run is None:
        raise PetError(f"{name}: --none-of-these compares texts with the labeled texts of a run; name the run's folder")
    if read_settings(run).method == "supervised":
        raise PetError(f"{name}: --none-of-these requires a run with an ensemble, and this is a supervised run")
    ensemble = open_ensemble(run, **compute.opening)
    return fit_threshold(ensemble, run, asked, reporter)


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
        If the run has no labeled texts, or their file is gone or has changed since.
    """
    place, settings = expand(run), read_settings(run)
    if settings.train is None:
        raise PetError(f"{run}: --none-of-these compares texts with the labeled texts, and this run has none")
    data = read_texts(place, settings, ensemble.task, reporter, ["train"])
    check_sources(place, settings, data)
    return threshold_of_texts(ensemble, run, data.train, asked)


def threshold_of_texts(ensemble: SavedEnsemble, run: Path, train: Dataset | None, asked: NoneOfThese) -> FitThreshold:
    """Return the threshold that follows from labeled texts; see `fit_threshold`.

    Parameters
    ----------
    ensemble, run, asked : as for `fit_threshold`
    train : the labeled texts of the run

    Raises
    ------
    PetError
        If there are none.
    """
    if train is not None and ensemble.task.multi_label:  # a text without a label says nothing about what fits
        train = pick_rows(train, np.flatnonzero(column_labels(train).any(axis=1)))
    if train is None or not len(train):
        raise PetError(f"{run}: --none-of-these compares texts with the labeled texts, and this run used none")
    if asked.by == MASS:
        measure, own = ensemble.mass, ensemble.mass(train)
    else:
        gold, vectors = column_labels(train), unit_length(ensemble.vectors(train))
        centers, own = label_centers(vectors, gold), held_out_fit(vectors, gold)

        def measure(table: Dataset) -> Array:
            return nearest_fit(ensemble.vectors(table), centers)

    least = least_fit(own, asked.share)
    return FitThreshold(measure, least, len(own), int((own < least).sum()))
