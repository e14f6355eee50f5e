"""What is served: a classifier, or the ensemble of a run without one, as a function of texts."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset
from numpy.typing import NDArray

from pet.data.columns import composed
from pet.inference.classifier import accelerator_for, open_classifier
from pet.inference.ensemble import SavedEnsemble, open_ensemble
from pet.inference.exported import ExportedEnsemble, open_exported
from pet.inference.options import ComputeOptions
from pet.inference.place import is_exported_ensemble
from pet.inference.runtime import classifier_runtime, ensemble_runtime
from pet.progress import Reporter
from pet.resources import expand
from pet.run.load_run import is_run
from pet.student.classifier import Classifier
from pet.student.exported import engine_of
from pet.training.device import Accelerator

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


def open_served(model: str, compute: ComputeOptions, reporter: Reporter | None = None) -> Served:
    """Open a student, a run, an export or any ``transformers`` sequence classifier.

    A run without a student is served as its ensemble.

    Parameters
    ----------
    model : folder or name
    compute : where and how to compute; the runtime ``auto`` is the usually fastest one that can run the model
    reporter : reports the runtime, if one was chosen

    Raises
    ------
    PetError
        If it cannot be opened.
    """
    place, reporter = expand(model), reporter or Reporter("quiet")
    if is_exported_ensemble(place):
        exported = open_exported(place, compute)
        reporter.info(f"runtime: {exported.engine}")
        return _ensemble(exported)
    if is_run(place) and not (place / "student").is_dir():
        ensemble = open_ensemble(place, **compute.opening)
        if compute.runtime:
            reporter.info(f"runtime: {ensemble_runtime(ensemble, compute)}")
        return _ensemble(ensemble)
    classifier = open_classifier(model, compute, independent=True).classifier
    accelerator = accelerator_for(classifier, compute)
    engine: object = engine_of(classifier)
    if engine is None and compute.runtime:
        engine = classifier_runtime(classifier, model, accelerator, compute)
    if engine is not None:
        reporter.info(f"runtime: {engine}")
    elif not compute.quantize:
        classifier.only_score(accelerator)
    return _classifier(classifier, accelerator, compute.max_tokens)


def _classifier(classifier: Classifier, accelerator: Accelerator, max_tokens: int) -> Served:
    fields = classifier.text_input.fields

    def probabilities(rows: Sequence[Mapping[str, str]]) -> Array:
        return classifier.probabilities(_table(rows, fields), accelerator, max_tokens=max_tokens)

    return Served(classifier.labels, fields, probabilities)


def _ensemble(ensemble: SavedEnsemble | ExportedEnsemble) -> Served:
    fields = ensemble.task.fields

    def probabilities(rows: Sequence[Mapping[str, str]]) -> Array:
        return np.asarray(ensemble.label(_table(rows, fields)).probabilities)

    return Served(tuple(ensemble.task.labels), tuple(fields), probabilities)


def _table(rows: Sequence[Mapping[str, str]], fields: Sequence[str]) -> Dataset:
    columns = {field: composed(pa.array([row[field] for row in rows], pa.string())) for field in fields}
    mark = uuid.uuid4().hex  # external members look ids up, and row numbers would be those of other texts
    return Dataset.from_dict({"id": [f"{mark}-{number}" for number in range(len(rows))], **columns})


def warmed(served: Served) -> Served:
    """Classify one text, so that the first request is as fast as the others."""
    served.probabilities([dict.fromkeys(served.fields, "a text")])
    return served
