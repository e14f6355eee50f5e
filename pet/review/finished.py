"""Open a finished run to look at its texts: nothing is trained, and no member is loaded."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.ensemble.combine import Ensemble, SoftLabels
from pet.errors import PetError
from pet.inference.ensemble import noted_merging, used_generation
from pet.members import embeddings
from pet.members.texts import Texts
from pet.progress import Reporter
from pet.recipe import make_recipe
from pet.resources import expand
from pet.run.context import make_shared
from pet.run.finished_texts import check_sources, read_texts
from pet.run.inputs import RunData
from pet.run.load_run import read_settings
from pet.run.settings import RunSettings
from pet.run.stages import read_scores
from pet.store.manifest import MANIFEST, read_stages
from pet.task.task import Task

Array = NDArray[Any]
_OPTIONS = {"train": "train", "pool": "unlabeled", "test": "test"}  # part -> option of the run


@dataclass(frozen=True)
class FinishedRun:
    """A finished run with an ensemble, and its texts.

    Attributes
    ----------
    folder : run directory
    settings, task, data : as the run had them
    ensemble : how the members are merged whose labels the student learned from
    generation : of these members
    reporter : gets warnings and progress
    """

    folder: Path
    settings: RunSettings
    task: Task
    data: RunData
    ensemble: Ensemble
    generation: int
    reporter: Reporter
    _vectors: dict[str, Array] = field(default_factory=dict, repr=False, compare=False)

    def texts(self, part: str) -> Any:
        """Return the table of a part: ``train``, ``pool`` or ``test``.

        Raises
        ------
        PetError
            If the run does not have it.
        """
        table = getattr(self.data, part)
        if table is None:
            raise PetError(f"{self.folder}: the run has no texts from --{_OPTIONS[part]}")
        return table

    def scores(self, part: str) -> list[Array]:
        """Return the memory-mapped scores of each member on a part, each of shape (rows, L)."""
        shape = len(self.texts(part)), len(self.task.labels)
        folder = self.folder / f"g{self.generation}"
        return [read_scores(folder / name / f"{part}-logits.npy", shape) for name in self.ensemble.names]

    @cached_property
    def pool(self) -> SoftLabels:
        """The merged labels of the unlabeled texts."""
        return self.ensemble.combine(self.scores("pool"))

    def vectors(self, part: str) -> Array:
        """Return a vector of unit length for each text: those that the run kept, or of the run's untrained model."""
        if part not in self._vectors:
            self._vectors[part] = self._embed(part)
        return self._vectors[part]

    def _embed(self, part: str) -> Array:
        kept = self.folder / "vectors" / embeddings.KIND / part / embeddings.VECTORS
        if kept.is_file():
            return np.asarray(read_scores(kept, (len(self.texts(part)), None)))
        recipe = make_recipe(self.settings.recipe, self.settings.settings)
        shared = make_shared(self.settings, self.task, recipe, self.data)
        with (
            closing(Texts(self.texts(part))) as texts,
            self.reporter.task(f"embed {part}", len(texts), "text") as bar,
        ):
            return np.array(shared.vectors(texts, on_rows=bar.update))


def open_finished(
    folder: str | Path,
    reporter: Reporter | None = None,
    *,
    device: str = "auto",
    allow_pickle: bool = False,
) -> FinishedRun:
    """Open a finished run.

    Parameters
    ----------
    folder : run directory
    reporter : gets warnings and progress
    device, allow_pickle : for texts that the run has no vectors of

    Raises
    ------
    PetError
        If the folder is no finished run with an ensemble, or its files of texts have changed since.
    """
    place, reporter = expand(folder), reporter or Reporter("quiet")
    settings = replace(read_settings(place), device=device, allow_pickle=allow_pickle)
    if settings.method == "supervised":
        raise PetError(f"{place} is a supervised run: it has a classifier, but no members that could disagree")
    task, stages = Task.from_dict(settings.task), read_stages(place)
    generation = used_generation(place, stages, settings.method)
    merging = noted_merging(place, stages, f"g{generation}/labels")
    if not merging:
        cure = f"finish it with `pet run {place}/config.yaml`"
        if settings.unlabeled is None:
            cure = "run it again with --unlabeled FILE and a new -o FOLDER"
        raise PetError(f"{place}: the run has not labeled unlabeled texts; {cure}")
    ensemble = Ensemble.from_dict(merging, len(task.labels), f"{place / MANIFEST}: g{generation}/labels")
    data = read_texts(place, settings, task, reporter)
    check_sources(place, settings, data)
    return FinishedRun(place, settings, task, data, ensemble, generation, reporter)
