"""What is served: a classifier, or the ensemble of a run without one, as a function of texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from pet.inference.classifier import open_classifier
from pet.inference.ensemble import SavedEnsemble, open_ensemble
from pet.inference.options import ComputeOptions
from pet.resources import expand
from pet.run.load_run import is_run
from pet.student.classifier import Classifier
from pet.training.device import make_accelerator

Array = NDArray[Any]


@dataclass(frozen=True)
class Served:
    """A model that is ready to classify.

    Attributes
    ----------
    labels : names of the labels
    fields : fields of a text
    probabilities : maps rows (field -> text) to an array of shape (rows, L)
    """

    labels: tuple[str, ...]
    fields: tuple[str, ...]
    probabilities: Callable[[Sequence[Mapping[str, str]]], Array]


def open_served(model: str, compute: ComputeOptions) -> Served:
    """Open a student, a run, an export or any ``transformers`` sequence classifier.

    A run without a student is served as its ensemble.

    Raises
    ------
    PetError
        If it cannot be opened.
    """
    place = expand(model)
    if is_run(place) and not (place / "student").is_dir():
        ensemble = open_ensemble(
            place, allow_pickle=compute.allow_pickle, device=compute.device, precision=compute.precision
        )
        return _ensemble(ensemble)
    return _classifier(open_classifier(model, compute, independent=True).classifier, compute)


def _classifier(classifier: Classifier, compute: ComputeOptions) -> Served:
    accelerator = make_accelerator(compute.device, compute.precision or "fp32")
    fields = classifier.text_input.fields

    def probabilities(rows: Sequence[Mapping[str, str]]) -> Array:
        return classifier.probabilities(_table(rows, fields), accelerator, max_tokens=compute.max_tokens)

    return Served(classifier.labels, fields, probabilities)


def _ensemble(ensemble: SavedEnsemble) -> Served:
    fields = ensemble.task.fields

    def probabilities(rows: Sequence[Mapping[str, str]]) -> Array:
        return np.asarray(ensemble.label(_table(rows, fields)).probabilities)

    return Served(tuple(ensemble.task.labels), tuple(fields), probabilities)


def _table(rows: Sequence[Mapping[str, str]], fields: Sequence[str]) -> Dataset:
    columns = {field: [row[field] for row in rows] for field in fields}
    return Dataset.from_dict({"id": [str(number) for number in range(len(rows))], **columns})


def warmed(served: Served) -> Served:
    """Classify one text, so that the first request is as fast as the others."""
    served.probabilities([dict.fromkeys(served.fields, "a text")])
    return served
