"""A finished run and what it predicts for its test texts, read from its files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pet.data.checks import column_labels
from pet.ensemble.combine import REPEAT, Ensemble
from pet.errors import PetError
from pet.evaluate_sets import HALF
from pet.groups import Groups, groups_of
from pet.inference.ensemble import noted_merging, used_generation
from pet.numerics import sigmoid, softmax
from pet.resources import expand
from pet.run.classifiers import TEST_LOGITS
from pet.run.inputs import read_test, source_fingerprint
from pet.run.load_run import read_settings
from pet.run.merging import KEPT
from pet.run.settings import RunSettings
from pet.run.stages import read_scores
from pet.store.manifest import MANIFEST, read_config, read_stages
from pet.store.recorded import check_recorded
from pet.student.classifier import read_threshold
from pet.task.task import Task

if TYPE_CHECKING:
    from datasets import Dataset

Array = NDArray[Any]


@dataclass(frozen=True)
class TestedRun:
    """A finished run with test texts.

    Attributes
    ----------
    name : as the user gave it
    task : of the run
    result : ``student``, or ``ensemble`` in a run without one
    table : the test texts
    probabilities : of each test text, shape (rows, L)
    threshold : probability from which a label applies, if a text may have several
    """

    __test__ = False  # not a test, whatever pytest thinks

    name: str
    task: Task
    result: str
    table: Dataset
    probabilities: Array
    threshold: float = HALF

    @property
    def gold(self) -> Array:
        """Gold labels as positions in the task's labels, shape (rows,); or bool, shape (rows, L)."""
        found = column_labels(self.table)
        return found > 0 if self.task.multi_label else found

    @property
    def said(self) -> Array:
        """Predicted labels, in the same form."""
        return self.probabilities >= self.threshold if self.task.multi_label else self.probabilities.argmax(axis=1)

    @property
    def groups(self) -> Groups | None:
        """The groups of the test texts, if the task has groups."""
        return groups_of(self.task.group, self.task.labels, [self.table])

    def take(self, rows: Array, columns: Array) -> TestedRun:
        """Return the run with its test texts and labels in another order."""
        from pet.data.pick import pick_rows

        return replace(self, table=pick_rows(self.table, rows), probabilities=self.probabilities[rows][:, columns])


def open_tested(folder: str | Path) -> TestedRun:
    """Open a finished run that has test texts.

    Raises
    ------
    PetError
        If the folder is no finished run, or its test texts are missing or have changed.
    """
    place, name = expand(folder), str(folder)
    settings = read_settings(place)
    task, stages = Task.from_dict(settings.task), read_stages(place)
    table = read_test(settings, task)
    if table is None:
        raise PetError(f"{name}: the run has no test texts; repeat it with --test F, into a new folder")
    if source_fingerprint(settings.test, table) != (read_config(place).get("hashes") or {}).get("test"):
        raise PetError(f"{settings.test}: the file has changed since the run {name}; {REPEAT}")
    shape = len(table), len(task.labels)
    if "student" in stages:
        check_recorded(place / "student" / TEST_LOGITS)
        scores = read_scores(place / "student" / TEST_LOGITS, shape)
        if task.multi_label:
            return TestedRun(name, task, "student", table, sigmoid(scores), read_threshold(place / "student"))
        return TestedRun(name, task, "student", table, softmax(scores))
    return TestedRun(name, task, "ensemble", table, *_merged(place, settings, stages, shape))


def _merged(place: Path, settings: RunSettings, stages: Any, shape: tuple[int, int]) -> tuple[Array, float]:
    """Return the probabilities of the ensemble, and its threshold."""
    generation = used_generation(place, stages, settings.method)
    for stage in (f"g{generation}/labels", KEPT):
        merging = noted_merging(place, stages, stage)
        if merging:
            ensemble = Ensemble.from_dict(merging, shape[1], f"{place / MANIFEST}: {stage}")
            files = [place / f"g{generation}" / name / TEST_LOGITS for name in ensemble.names]
            check_recorded(*files)
            found = ensemble.combine([read_scores(file, shape) for file in files]).probabilities
            return np.asarray(found), ensemble.threshold
    raise PetError(f"{place}: this run is not finished; finish it with `pet run {place / 'config.yaml'}`")
