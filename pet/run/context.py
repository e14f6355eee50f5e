"""The run context: what all stages of a run read."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from pet.backbones.info import ModelInfo
from pet.members.models import Models
from pet.members.shared import Shared
from pet.members.spec import MemberSpec
from pet.members.texts import Texts
from pet.progress import Reporter
from pet.recipe import Recipe
from pet.run.inputs import RunData
from pet.run.settings import RunSettings, absolute
from pet.store.directory import RunDirectory
from pet.store.files import hash_inputs
from pet.task.task import Task

PARTS = ("train", "pool", "test")
PRIMERS = "primers.jsonl"  # labeled texts for priming; each label is a position in the task's labels


@dataclass
class RunContext:
    """What all stages of one run read.

    Attributes
    ----------
    settings, task, recipe : what to do
    data : the texts
    specs : the members of the ensemble
    shared : what the members share
    directory : the run directory, which holds the finished stages
    reporter : gets messages and progress
    """

    settings: RunSettings
    task: Task
    recipe: Recipe
    data: RunData
    specs: tuple[MemberSpec, ...]
    shared: Shared
    directory: RunDirectory
    reporter: Reporter
    _texts: dict[str, Texts] = field(default_factory=dict)

    @cached_property
    def config_hash(self) -> str:
        """Hash of the whole configuration, on which every stage depends."""
        return hash_inputs(self.directory.config)

    def has(self, part: str) -> bool:
        """Return True if the run has a part: ``train``, ``pool``, or ``test``."""
        return getattr(self.data, part) is not None

    def texts(self, part: str) -> Texts:
        """Return the texts of a part. Raises ValueError if the run does not have it; see `has`."""
        if part not in self._texts:
            table = getattr(self.data, part)
            if table is None:
                raise ValueError(f"this run has no {part} texts")
            self._texts[part] = Texts(table, lambda: self.shared.plan)
        return self._texts[part]

    def put(self, part: str, texts: Texts) -> None:
        """Set the texts of a part, with token ids from another process."""
        self._texts[part] = texts

    def close(self) -> None:
        """Remove temporary files."""
        for texts in self._texts.values():
            texts.close()
        self._texts.clear()


def make_shared(
    settings: RunSettings, task: Task, recipe: Recipe, data: RunData, info: ModelInfo | None = None
) -> Shared:
    """Return what the members of a run share.

    Parameters
    ----------
    settings, task, recipe, data : as in `RunContext`
    info : the pretrained model, if it is open already
    """
    info = info or ModelInfo(settings.model, allow_pickle=settings.allow_pickle)
    shared = settings.trains_members and not recipe.tuning.trains_backbone
    named = absolute(settings.model, only_folder=True) or settings.model
    return Shared(
        task=task,
        recipe=recipe,
        models=Models(info, recipe.encoding.max_length, shared=shared, named=named),
        device=settings.device,
        precision=settings.precision,
        seed=settings.seed,
        head_model=settings.student_model or settings.model,
        primers=data.train if recipe.priming.count else None,
    )
