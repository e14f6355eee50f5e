"""What a run was asked to do, in plain values that stand in its config.yaml."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from pet.errors import PetError
from pet.ipet.settings import NO_POOL
from pet.recipe import DEFAULT_LIBRARY
from pet.task.task import absolute_member

METHODS = ("pet", "ipet", "supervised", "zero-shot")
RANKED = re.compile(r"similar|mean:(\d+)")  # of `RunSettings.init_prompt`: those of the library that rank first
MEMORY = "memory:"  # begins the name of a source whose texts were given in Python and are in no file


@dataclass(frozen=True)
class RunSettings:
    """One run. Paths are kept as absolute ones, so that config.yaml means the same everywhere on a machine.

    Attributes
    ----------
    task : the task as a mapping (`Task.to_dict`)
    train, unlabeled, test : data sources, or None
    model : folder, embedded model or hub name
    method : one of `METHODS`
    student_model : what the student starts from; None: as `model`
    shots, examples : labeled texts to draw, per label or in total; None takes the whole file
    balanced : draw as evenly as can be, or as the file has it
    pool_size : unlabeled texts to draw; None takes all
    seed : of everything that is random
    recipe, settings : a named recipe, and what is changed of it
    columns : field (or ``label``, ``id``) -> column of the data files
    device, precision : see `pet.training.device.make_accelerator`
    baselines : also run the other methods with the same examples, for comparison
    allow_pickle : also open pickled weights
    init_prompt : what the vectors of ``--tuning prompt`` start from: a prompt's name in the library, its folder,
        ``similar`` or ``mean:K``; None: what the recipe says
    prompt_library : folder of the library
    project_prompt : a model whose prompts are mapped onto `model`, which would be refused otherwise
    members : members beside the patterns, as `pet.members.kinds.parse_member` reads them

    Raises
    ------
    PetError
        Naming every option that is out of range or does not fit the others.

    Examples
    --------
    >>> settings = RunSettings(task={}, train="train.jsonl", unlabeled=None, test=None, model="mini-en", shots=10)
    >>> settings.method, settings.shots
    ('pet', 10)
    """

    task: Mapping[str, Any]
    train: str | None
    unlabeled: str | None
    test: str | None
    model: str
    method: str = "pet"
    student_model: str | None = None
    shots: int | None = None
    examples: int | None = None
    balanced: bool = True
    pool_size: int | None = None
    seed: int = 0
    recipe: str = "default"
    settings: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"
    precision: str = "auto"
    baselines: bool = False
    allow_pickle: bool = False
    init_prompt: str | None = None
    prompt_library: str | None = None
    project_prompt: str | None = None
    members: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problems = []
        if self.method not in METHODS:
            problems.append(f"method {self.method!r} is not known; there are {', '.join(METHODS)}")
        if self.shots is not None and self.examples is not None:
            problems.append("--shots (per label) and --examples (in total) exclude each other; give one")
        for name in ("shots", "examples"):
            value = getattr(self, name)
            if value is not None and value < 0:
                problems.append(f"--{name} is {value}: it must be 0 or more")
        no_labels = self.train is None or self.shots == 0 or self.examples == 0
        if self.method in ("pet", "supervised") and no_labels:
            problems.append(
                f"--method {self.method} learns from labeled texts, and there are none; give --train (and no zero "
                "for --shots or --examples), or use --method zero-shot"
            )
        if self.method == "ipet" and self.unlabeled is None:
            problems.append(NO_POOL)
        if self.method == "zero-shot" and self.unlabeled is None and self.test is None:
            problems.append("--method zero-shot has nothing to label: give --unlabeled or --test")
        if self.pool_size is not None and self.pool_size < 1:
            problems.append(f"--pool-size is {self.pool_size}: it must be 1 or more")
        if self.members and self.method == "supervised":
            problems.append("--member requires an ensemble, and --method supervised trains one classifier alone")
        if self.init_prompt is not None and not self.trains_members:
            problems.append(f"--init-prompt is where members start from, and --method {self.method} trains none")
        if self.init_prompt is None and (self.prompt_library or self.project_prompt):
            problems.append("--prompt-library and --project-prompt go with --init-prompt; say what to start from")
        if problems:
            raise PetError(problems)

    @property
    def trains_members(self) -> bool:
        """True if the method trains an ensemble."""
        return self.method in ("pet", "ipet")

    @property
    def makes_classifier(self) -> bool:
        """Whether there will be a student, or a plain classifier to compare with."""
        distills = self.trains_members and self.unlabeled is not None
        return distills or self.method == "supervised" or (self.baselines and self.train is not None)

    def to_dict(self) -> dict[str, Any]:
        values = asdict(self)
        values["members"] = [absolute_member(text) for text in self.members]
        for name in ("train", "unlabeled", "test"):
            values[name] = absolute(values[name])
        for name in ("model", "student_model", "project_prompt"):
            values[name] = absolute(values[name], only_folder=True)
        if self.init_prompt is not None:
            library = os.path.abspath(Path(self.prompt_library or DEFAULT_LIBRARY).expanduser())
            values["prompt_library"] = library
            named = Path(self.init_prompt).name == self.init_prompt and Path(library, self.init_prompt).is_dir()
            if not named and not RANKED.fullmatch(self.init_prompt):  # these go before a folder of that name
                values["init_prompt"] = absolute(self.init_prompt, only_folder=True)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunSettings:
        names = {item.name for item in fields(cls)}
        given = {key: value for key, value in values.items() if key in names}
        return cls(**{**given, "members": tuple(given.get("members") or ())})


def absolute(path: str | None, *, only_folder: bool = False) -> str | None:
    """A path of a file or folder that is there as an absolute one; hub names stay as they are."""
    if path is None or path.startswith("hub:"):
        return path
    place = Path(path).expanduser()
    return os.path.abspath(place) if (place.is_dir() if only_folder else place.exists()) else path
