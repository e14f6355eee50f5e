"""Finding a saved classifier and what is known of the data that it was made for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pet.errors import PetError
from pet.run.load_run import is_run, read_settings
from pet.run.settings import RunSettings
from pet.student.classifier import Classifier, load_classifier
from pet.task.task import Task


@dataclass(frozen=True)
class SavedClassifier:
    """A classifier, and how the data of its run was written.

    Attributes
    ----------
    classifier : ready to predict
    columns : field (or ``label``, ``id``) -> column, as in the run; empty where there is no run
    label_map : text in the data -> label, as in the run's task
    """

    classifier: Classifier
    columns: Mapping[str, str]
    label_map: Mapping[str, str]


def open_classifier(name: str, *, allow_pickle: bool = False) -> SavedClassifier:
    """A student, the student of a run, or any ``transformers`` sequence classifier.

    Parameters
    ----------
    name : folder of a classifier or of a run, or a hub name
    allow_pickle : also open pickled weights

    Raises
    ------
    PetError
        When it cannot be opened, or is a run without a student.
    """
    place = Path(name).expanduser()
    if place.is_dir() and not (place / "config.json").is_file() and not (place / "student").is_dir():
        _refuse(place)
    classifier = load_classifier(name, allow_pickle=allow_pickle)
    settings = _settings_of(place)
    if settings is None:
        return SavedClassifier(classifier, {}, {})
    return SavedClassifier(classifier, settings.columns, Task.from_dict(settings.task).label_map)


def _refuse(place: Path) -> None:
    if is_run(place):
        settings = read_settings(place)
        why = "zero-shot" if settings.method == "zero-shot" else "unfinished, or had no unlabeled text"
        raise PetError(
            f"{place}: this run has no classifier (it is {why}); label texts with `pet label {place}`, "
            "or distill one from its labels with `pet distill`"
        )
    if any(place.glob("seed-*/config.yaml")):
        read_settings(place)  # says that there is a run for each seed


def _settings_of(place: Path) -> RunSettings | None:
    """The settings of the run that a folder is, or is the student of."""
    for folder in (place, place.absolute().parent):
        if place.is_dir() and is_run(folder) and (folder == place or place.name == "student"):
            return read_settings(folder)
    return None
