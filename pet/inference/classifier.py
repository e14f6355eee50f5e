"""Open a saved classifier together with the data settings of its run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from pet.data.read import Chunks
from pet.inference.options import ComputeOptions
from pet.inference.place import check_place, settings_of
from pet.progress import Reporter
from pet.resources import expand
from pet.run.load_run import is_run
from pet.store.recorded import check_recorded
from pet.student.classifier import Classifier, load_classifier
from pet.student.exported import engine_of, is_exported, load_exported
from pet.task.group import Group
from pet.task.parse import SEPARATOR
from pet.task.task import Task
from pet.training.device import Accelerator, make_accelerator

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class SavedClassifier:
    """A classifier, and the data settings of its run.

    Attributes
    ----------
    classifier : Classifier
    columns : mapping of str to str
        Field (or ``label``, ``id``) -> column, as in the run; empty without a run.
    label_map : mapping of str to str
        Text in the data -> label, as in the run's task.
    group : Group, optional
        Texts that the run's task judges together.
    separator : str
        Character between the labels of a text in a cell, as in the run's task.
    ordered : bool
        Whether the labels are in an order, as in the run's task.
    ancestors : mapping of str to tuple of str
        Label -> its ancestors, as in the run's task.
    """

    classifier: Classifier
    columns: Mapping[str, str] = field(default_factory=dict)
    label_map: Mapping[str, str] = field(default_factory=dict)
    group: Group | None = None
    separator: str = SEPARATOR
    ordered: bool = False
    ancestors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def open_classifier(name: str, compute: ComputeOptions, *, independent: bool = False) -> SavedClassifier:
    """Open a student, the student of a run, a folder of `pet export`, or any ``transformers`` sequence classifier.

    Parameters
    ----------
    name : str
        Folder of a classifier or a run, or a hub name.
    compute : ComputeOptions
        Whether to open pickled weights, and what runs an exported classifier.
    independent : bool
        Accept a multi-label classifier.

    Raises
    ------
    PetError
        If it cannot be opened, or is a run without a classifier.
    """
    place = expand(name)
    check_place(place)
    settings = settings_of(place)
    if settings is not None:
        check_recorded(place / "student" if is_run(place) else place)
    if is_exported(place):
        classifier = load_exported(
            place, compute.runtime, compute.precision or "fp32",
            device=compute.device, quantize=compute.quantize, independent=independent,
        )  # fmt: skip
    else:
        classifier = load_classifier(name, allow_pickle=compute.allow_pickle, independent=independent)
    saved = SavedClassifier(classifier)
    if settings is None:
        return saved
    saved = reading_as(saved, Task.from_dict(settings.task))
    return replace(saved, columns={**saved.columns, **settings.columns})


def reading_as(saved: SavedClassifier, task: Task) -> SavedClassifier:
    """Return a classifier whose data are read and judged as in a task; its order only if it has the same labels."""
    labels = saved.classifier.labels
    return replace(
        saved,
        columns={**saved.columns, **task.columns},
        label_map=task.label_map,
        group=task.group,
        separator=task.label_separator,
        ordered=task.ordered and task.labels == labels,
        ancestors={label: path for label, path in task.ancestors.items() if label in labels},
    )


def accelerator_for(classifier: Classifier, compute: ComputeOptions) -> Accelerator:
    """Return where a classifier computes: an engine on the CPU, whatever other devices there are."""
    if engine_of(classifier):
        return make_accelerator("cpu", "fp32")  # the engine has a precision of its own
    return make_accelerator(compute.device, compute.precision or "fp32")


def classify_chunks(
    classifier: Classifier,
    name: str,
    table: Chunks,
    compute: ComputeOptions,
    doing: str,
    reporter: Reporter,
) -> Iterator[tuple[Dataset, NDArray[Any]]]:
    """Yield each chunk with its probabilities, float64 of shape (rows, L).

    Parameters
    ----------
    classifier, name : Classifier and str
        The classifier, and its name in messages.
    table : Chunks
        Texts.
    compute : ComputeOptions
    doing : str
        Name of the progress bar.
    reporter : Reporter
    """
    accelerator, chunks = accelerator_for(classifier, compute), iter(table)
    if compute.quantize or compute.runtime or engine_of(classifier):
        from pet.inference.quantize import first_chunk  # these modules import the ensemble
        from pet.inference.runtime import prepare_classifier

        first, chunks = first_chunk(chunks)
        prepare_classifier(classifier, name, first, accelerator, compute, reporter)
    else:
        classifier.only_score(accelerator)
    with reporter.task(doing, table.rows, "text") as bar:
        for chunk in chunks:
            yield (
                chunk,
                classifier.probabilities(chunk, accelerator, max_tokens=compute.max_tokens, on_rows=bar.update),
            )
