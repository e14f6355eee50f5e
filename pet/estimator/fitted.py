"""What `PetClassifier.fit` keeps of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from pet.ensemble.soft_label_files import SoftLabelTable, read_soft_labels
from pet.errors import PetError
from pet.inference.ensemble import SavedEnsemble, open_ensemble, used_generation
from pet.progress import Reporter
from pet.run.kept_texts import keep_texts
from pet.run.load_run import read_settings
from pet.run.pipeline import run
from pet.run.resolve import Given
from pet.run.results import read_results
from pet.run.settings import RunSettings
from pet.spelling import Names
from pet.store.manifest import read_stages
from pet.store.recorded import check_recorded
from pet.store.temporary import Scratch
from pet.student.classifier import Classifier, load_classifier
from pet.task.task import Task
from pet.task.usual import UsualColumn
from pet.terminal import counted
from pet.training.device import make_accelerator

if TYPE_CHECKING:
    from datasets import Dataset

Array = NDArray[Any]


@dataclass
class Fitted:
    """What predicts after a fit, and what is known about the run.

    Attributes
    ----------
    predictor : the student, or the ensemble if there is no student
    soft_labels : soft labels of the pool, or None
    results : see `pet.run.pipeline.run`
    folder : temporary folder with members that do not fit into memory; it is removed with this object
    in_memory : whether predictions need no files of the run
    """

    predictor: Classifier | SavedEnsemble
    soft_labels: SoftLabelTable | None = None
    results: dict[str, Any] = field(default_factory=dict)
    folder: Scratch | None = None
    in_memory: bool = True

    @property
    def student(self) -> Classifier | None:
        """The classifier, or None if the ensemble predicts."""
        return self.predictor if isinstance(self.predictor, Classifier) else None

    @property
    def ensemble(self) -> SavedEnsemble | None:
        """The ensemble, or None if a classifier predicts."""
        return self.predictor if isinstance(self.predictor, SavedEnsemble) else None

    @property
    def threshold(self) -> float:
        """Probability from which a label applies, if a text may have several."""
        return (self.predictor if isinstance(self.predictor, Classifier) else self.predictor.ensemble).threshold

    def probabilities(self, table: Dataset, device: str, precision: str, reporter: Reporter) -> Array:
        """Return a float64 array of shape (rows, L).

        With precision ``auto`` a student computes in fp32, as `pet predict` and a pipeline of transformers do.
        """
        predictor = self.predictor
        if isinstance(predictor, Classifier):
            accelerator = make_accelerator(device, "fp32" if precision == "auto" else precision)
            with reporter.task("predict", len(table), "text") as bar:
                return predictor.probabilities(table, accelerator, on_rows=bar.update)
        predictor.use(device, precision)
        members = len(predictor.names)
        with reporter.task(f"predict with {counted(members, 'member')}", len(table) * members, "score") as bar:
            return predictor.label(table, bar.update).probabilities

    def to_cpu(self) -> None:
        """Move the weights to the CPU, so that a machine without the device can unpickle them."""
        if isinstance(self.predictor, Classifier):
            self.predictor.model.to("cpu")
        else:
            self.predictor.to_cpu()


def fit_run(
    settings: RunSettings, task: Task, tables: Mapping[str, Dataset], output: Path | None, reporter: Reporter
) -> Fitted:
    """Run the pipeline and keep what predictions need.

    Parameters
    ----------
    settings : the run
    task, tables : the task, and the texts that the settings call ``memory:``
    output : folder of the run; None: a temporary folder
    reporter : shows progress
    """
    given = Given(task=task, tables=tables)
    if output is not None:
        results = run(settings, output, reporter, given=given)
        keep_texts(output, task, tables)
        return _open_run(output, settings, task, results)
    folder = Scratch()
    try:
        place = folder.path / "run"
        fitted = _open_run(place, settings, task, run(settings, place, reporter, given=given))
    except BaseException:
        folder.close()
        raise
    if fitted.in_memory:
        folder.close()
    else:
        fitted.folder = folder
    return fitted


def open_run(place: Path, allow_pickle: bool) -> tuple[RunSettings, Task, Fitted]:
    """Open the folder of a finished run: its settings, its task with the columns of its data, and what predicts.

    Raises
    ------
    PetError
        If it is no finished run, or its student is damaged.
    """
    if (place / "config.json").is_file() and not (place / "config.yaml").exists():
        raise PetError(
            f"{place} is a saved classifier, not a run; open it with pipeline('text-classification', folder) of "
            "transformers or predict_file, or fit with output= and load that folder"
        )
    settings = read_settings(place)
    task = Task.from_dict(settings.task)
    check_recorded(place / "student")
    fitted = _open_run(place, replace(settings, allow_pickle=allow_pickle), task, read_results(place))
    known = Names([*task.fields, "id", "label"])
    named = {known.find(field) or field: UsualColumn(column) for field, column in settings.columns.items()}
    return settings, replace(task, columns={**task.columns, **named}), fitted


def _open_run(place: Path, settings: RunSettings, task: Task, results: dict[str, Any]) -> Fitted:
    """Open the student or the ensemble of a finished run, and its soft labels."""
    has_student = (place / "student").is_dir()
    predictor = (
        load_classifier(str(place / "student"), independent=task.multi_label)
        if has_student
        else open_ensemble(place, allow_pickle=settings.allow_pickle)
    )
    if isinstance(predictor, Classifier) and list(predictor.labels) != [str(label) for label in task.labels]:
        raise PetError(f"{place / 'student'}: its labels are not those of the run; copy the folder from the original")
    labels = place / f"g{used_generation(place, read_stages(place), settings.method)}" / "labels.parquet"
    soft_labels = read_soft_labels(labels, task.labels) if labels.is_file() else None
    in_memory = isinstance(predictor, Classifier) or predictor.keep_all()
    return Fitted(predictor, soft_labels, results, in_memory=in_memory)
