"""The settings of a run, in plain values, as in its config.yaml."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from pet.data.run_texts import RunDraw
from pet.data.source_names import absolute as absolute_table
from pet.errors import PetError
from pet.ipet.settings import NO_POOL
from pet.recipe import DEFAULT_LIBRARY
from pet.resources import expand
from pet.settings import out_of_range
from pet.task.task import absolute_member

METHODS = ("pet", "ipet", "pcp", "supervised", "zero-shot")
RANKED = re.compile(r"similar|mean:(\d+)")  # values of `RunSettings.init_prompt` that rank the library
SEEDS = 2**63 - 1
MEMORY = "memory:"  # prefix of a source whose texts were passed in Python


@dataclass(frozen=True)
class RunSettings:
    """The settings of one run. `to_dict` makes paths absolute, so that config.yaml works from any folder.

    Attributes
    ----------
    task : the task as a mapping (`Task.to_dict`)
    train, unlabeled, test : data sources, or None
    model : folder, embedded model, or hub name
    method : one of `METHODS`
    student_model : model that the student starts from; default: `model`
    shots, examples : number of labeled texts to draw, per label or in total; default: the whole file
    balanced : draw labels evenly; False: in the proportions of the file
    pool_size : number of unlabeled texts to draw; default: all
    corrections : a ``reviewed.jsonl`` of `pet review`, or several: their labels are added to those of `train`; if
        several decide about a text, the last one counts
    seed : random seed
    draw : random seed of the draw of labeled examples; default: `seed`
    recipe, settings : named recipe, and changed settings
    columns : field (or ``label``, ``id``) -> column of the data files
    table_format : encoding, delimiter and quoting of CSV and TSV files, as for `pet.data.table_format.TableFormat`
    device, precision : see `pet.training.device.make_accelerator`
    baselines : also run the other methods with the same examples
    allow_pickle : open pickled weights, too
    init_prompt : initial vectors for ``--tuning prompt``: a prompt's name in the library, its folder, ``similar``, or
        ``mean:K``; default: set by the recipe
    prompt_library : folder of the prompt library
    project_prompt : another model, whose prompts may be used: they are mapped to `model`
    members : members besides the patterns, as text for `pet.members.kinds.parse_member`
    reuse : folder of an earlier run, whose members are kept as far as they are still right (`pet.run.reuse`)
    estimate : train further members on halves of the labeled texts to estimate the accuracy; default: if there are no
        test texts and it takes at most half as long as the run

    Raises
    ------
    PetError
        Naming every option that is out of range or conflicts with another.

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
    corrections: str | tuple[str, ...] | None = None
    seed: int = 0
    recipe: str = "default"
    settings: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    table_format: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"
    precision: str = "auto"
    baselines: bool = False
    allow_pickle: bool = False
    init_prompt: str | None = None
    prompt_library: str | None = None
    project_prompt: str | None = None
    members: tuple[str, ...] = ()
    reuse: str | None = None
    estimate: bool | None = None
    draw: int | None = None

    def __post_init__(self) -> None:
        problems = []
        if self.method not in METHODS:
            problems.append(f"unknown method {self.method!r}; methods are {', '.join(METHODS)}")
        problems += self.texts.mistakes()
        problems += out_of_range(self, {"seed": (-SEEDS, SEEDS), "draw": (-SEEDS, SEEDS)})
        if self.method in ("pet", "pcp", "supervised") and not self.has_labels:
            problems.append(
                f"--method {self.method} requires labeled texts; give --train (and not 0 for --shots or --examples), "
                "or use --method ipet, which trains without labels, or --method zero-shot, which trains nothing"
            )
        if self.method == "ipet" and self.unlabeled is None:
            problems.append(NO_POOL)
        if self.method == "pcp" and self.unlabeled is None:
            problems.append("--method pcp pretrains the model on unlabeled texts: give --unlabeled")
        if self.method == "zero-shot" and self.unlabeled is None and self.test is None:
            problems.append("--method zero-shot requires texts to label; give --unlabeled or --test")
        if self.members and self.method == "supervised":
            problems.append("--member requires an ensemble, but --method supervised trains a single classifier")
        if self.init_prompt is not None and not self.trains_members:
            problems.append(f"--init-prompt requires a method that trains members, not --method {self.method}")
        if self.init_prompt is None and (self.prompt_library or self.project_prompt):
            problems.append("--prompt-library and --project-prompt require --init-prompt")
        if self.reuse is not None and not self.trains_members:
            problems.append(f"--from reuses trained members, but --method {self.method} trains none; leave it out")
        if self.estimate and not (self.trains_members and self.has_labels):
            problems.append("--estimate trains members on halves of the labeled texts; give --train, with pet or ipet")
        if problems:
            raise PetError(problems)

    @property
    def texts(self) -> RunDraw:
        """Which texts of the files the run uses."""
        seed = self.seed if self.draw is None else self.draw
        return RunDraw(self.shots, self.examples, self.balanced, self.pool_size, seed, self.seed)

    @property
    def has_labels(self) -> bool:
        """True if the run has labeled texts."""
        drawn = self.train is not None and not self.texts.nothing_labeled
        return drawn or bool(self.correction_files)

    @property
    def correction_files(self) -> tuple[str, ...]:
        """The files of the corrections, in the order in which they count."""
        return (self.corrections,) if isinstance(self.corrections, str) else self.corrections or ()

    @property
    def trains_members(self) -> bool:
        """True if the method trains an ensemble."""
        return self.method in ("pet", "ipet", "pcp")

    @property
    def compares(self) -> bool:
        """True if the other methods run, too. They are only compared on test texts."""
        return self.baselines and self.test is not None

    @property
    def makes_classifier(self) -> bool:
        """True if a run trains a student, or a classifier as a baseline."""
        distills = self.trains_members and self.unlabeled is not None
        return distills or self.method == "supervised" or (self.compares and self.has_labels)

    def to_dict(self) -> dict[str, Any]:
        values = asdict(self)
        values["members"] = [absolute_member(text) for text in self.members]
        for name in ("train", "unlabeled", "test"):
            values[name] = None if values[name] is None else absolute_table(values[name])
        files = [absolute(file) for file in self.correction_files]
        values["corrections"] = (files if len(files) > 1 else files[0]) if files else None
        for name in ("model", "student_model", "project_prompt"):
            values[name] = absolute(values[name], only_folder=True)
        for name in ("reuse", "estimate", "draw"):
            if values[name] is None:
                del values[name]  # so that earlier runs stay the same
        if self.reuse is not None:
            values["reuse"] = os.path.abspath(expand(self.reuse))
        if self.init_prompt is not None:
            library = os.path.abspath(expand(self.prompt_library or DEFAULT_LIBRARY))
            values["prompt_library"] = library
            named = Path(self.init_prompt).name == self.init_prompt and Path(library, self.init_prompt).is_dir()
            if not named and not RANKED.fullmatch(self.init_prompt):
                values["init_prompt"] = absolute(self.init_prompt, only_folder=True)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunSettings:
        names = {item.name for item in fields(cls)}
        given = {key: value for key, value in values.items() if key in names}
        if isinstance(given.get("corrections"), list):
            given["corrections"] = tuple(given["corrections"])
        return cls(**{**given, "members": tuple(given.get("members") or ())})


def absolute(path: str | None, *, only_folder: bool = False) -> str | None:
    """Make the path of an existing file or folder absolute; leave hub names unchanged.

    With `only_folder`, for models, only paths of folders and GGUF files are made absolute.
    """
    if path is None or path.startswith("hub:"):
        return path
    place = expand(path)
    return (
        os.path.abspath(place)
        if (place.is_dir() or path.endswith(".gguf") if only_folder else place.exists())
        else path
    )
