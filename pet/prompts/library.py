"""A library of trained prompts: a folder with a sub-folder for each.

A sub-folder holds ``learned.safetensors``, as a member of a run does, and ``prompt.json``: what the vectors were
trained on, the model that they belong to, and figures.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pet.errors import PetError
from pet.prompts.settings import DEFAULT_LIBRARY
from pet.store.files import make_folders
from pet.store.outputs import writing_folder
from pet.task.pattern import Pattern
from pet.task.task import Task
from pet.terminal import clean
from pet.tuning.members import Learned, read_member, write_learned
from pet.tuning.vectors import VECTORS

Array = NDArray[Any]
NOTE = "prompt.json"
OPTIONS = {"tuning": "prompt"}  # of a saved member
_FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHOWN = 10


@dataclass(frozen=True)
class Prompt:
    """A trained prompt.

    Attributes
    ----------
    name : its sub-folder in the library
    vectors : float32 array of shape (n, D)
    backbone, fingerprint : the model that it belongs to, for people, and by hash
    about : plain values: ``kind`` (run, mixture, pretrained or projected), ``tasks`` (each with ``task`` and
        ``patterns``), ``steps``, ``examples``, ``metrics``, ``origin``
    """

    name: str
    vectors: Array
    backbone: str
    fingerprint: str
    about: Mapping[str, Any]

    @property
    def length(self) -> int:
        return len(self.vectors)

    @property
    def digest(self) -> str:
        """SHA-256 of the numbers and of the model that they belong to; notes about them do not count."""
        content = hashlib.sha256(f"{self.fingerprint} {self.vectors.shape} ".encode())
        content.update(np.ascontiguousarray(self.vectors, dtype="<f4").tobytes())
        return content.hexdigest()

    @property
    def tasks(self) -> str:
        """The names of its tasks, for people."""
        return ", ".join(task["task"] for task in self.about["tasks"])


def check_name(name: str) -> str:
    """A name that can be a sub-folder everywhere, and is never a path.

    Raises
    ------
    PetError
        For any other text.
    """
    if not _NAME.fullmatch(name):
        raise PetError(
            f"prompt {clean(name)!r}: a name is made of letters, digits, dots, dashes and underscores, begins with a "
            "letter or a digit, and has at most 100 of them"
        )
    return name


def as_name(text: str) -> str:
    """A name made of any text: what it may not have becomes a dash."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:60] or "prompt"


def portable(model: str) -> str:
    """How a library calls a model: a hub name as it is, a folder by its last part."""
    place = Path(model).expanduser()
    return place.resolve().name if place.is_dir() else model


def read_prompt(folder: Path) -> Prompt:
    """A prompt of a library.

    Raises
    ------
    PetError
        When the folder holds none, or a damaged one.
    """
    path = folder / NOTE
    if not path.is_file():
        raise PetError(f"{folder}: this is no trained prompt (no {NOTE} in it); `pet prompts add RUN` makes some")
    learned = read_member(folder)
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        problem = _problem(note, learned)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = str(error)
    if problem:
        raise PetError(f"{path} is damaged ({clean(problem)}); make the prompt again, or take it out of the library")
    about = {key: note[key] for key in ("kind", "tasks", "steps", "examples", "metrics", "origin")}
    vectors = learned.arrays[VECTORS].numpy()
    return Prompt(folder.name, vectors, clean(learned.backbone), learned.fingerprint, about)


def _problem(note: Any, learned: Learned) -> str:
    """What is wrong with the two files of a prompt, or nothing."""
    vectors = learned.arrays.get(VECTORS)
    if learned.options.get("tuning") != "prompt" or vectors is None or vectors.ndim != 2 or not len(vectors):
        return "its numbers are not vectors before a text"
    if vectors.dtype != torch.float32 or not bool(torch.isfinite(vectors).all()):
        return "its vectors are not finite numbers in float32"
    if not isinstance(learned.backbone, str) or not isinstance(learned.fingerprint, str):
        return "it does not name its model"
    if note["format"] != _FORMAT:
        return f"format {note['format']} is not known to this version of pet"
    if note["backbone"]["hash"] != learned.fingerprint or note["shape"] != list(vectors.shape):
        return "it belongs to other vectors than those beside it"
    if not all(isinstance(task["task"], str) and isinstance(task["patterns"], list) for task in note["tasks"]):
        return "its tasks are not named"
    if not all(isinstance(note[key], Mapping) for key in ("metrics", "origin")) or not isinstance(note["kind"], str):
        return "its notes are of another kind"
    return "" if all(isinstance(note[key], int) for key in ("steps", "examples")) else "its counts are no numbers"


def write_prompt(library: str | Path, prompt: Prompt) -> Path:
    """Put a prompt into a library, in whole; the same one again changes nothing.

    Raises
    ------
    PetError
        When another prompt has this name, or the folder cannot be written.
    """
    place = free_place(library, prompt)
    if place.exists():
        return place
    make_folders(Path(library).expanduser())
    note = {
        "format": _FORMAT,
        "name": prompt.name,
        "backbone": {"name": prompt.backbone, "hash": prompt.fingerprint},
        "shape": list(prompt.vectors.shape),
        **prompt.about,
    }
    arrays = {VECTORS: torch.from_numpy(np.ascontiguousarray(prompt.vectors, dtype=np.float32))}
    with writing_folder(place) as folder:
        write_learned(Learned(arrays, prompt.backbone, prompt.fingerprint, OPTIONS), folder)
        text = json.dumps(note, indent=2, ensure_ascii=False, allow_nan=False)
        (folder / NOTE).write_text(text + "\n", encoding="utf-8")
    return place


def free_place(library: str | Path, prompt: Prompt) -> Path:
    """Where a prompt goes; refused when another one is there."""
    place = place_of(library, prompt.name)
    if not place.exists() or ((place / NOTE).is_file() and read_prompt(place).digest == prompt.digest):
        return place
    raise _taken(place)


def check_free(library: str | Path, name: str) -> None:
    """Refuse the name of a prompt that is there, before a new one is made."""
    place = place_of(library, name)
    if place.exists():
        raise _taken(place)


def place_of(library: str | Path, name: str) -> Path:
    """The sub-folder of a name."""
    root = Path(library).expanduser()
    if root.exists() and not root.is_dir():
        raise PetError(f"{library} is a file; name a folder for the library of prompts")
    return root / check_name(name)


def _taken(place: Path) -> PetError:
    return PetError(f"{place}: there is a prompt of this name; choose another --name, or delete that one")


def list_prompts(library: str | Path) -> list[Prompt]:
    """All prompts of a library, sorted by name.

    Raises
    ------
    PetError
        When there is no such folder, or naming every prompt in it that is damaged.
    """
    root = Path(library).expanduser()
    if not root.is_dir():
        raise PetError(f"{library}: there is no such library of prompts; `pet prompts add RUN -l {library}` makes one")
    prompts, problems = [], []
    for name in _names(root):
        try:
            prompts.append(read_prompt(root / name))
        except PetError as error:
            problems += error.problems
    if problems:
        raise PetError(problems)
    return prompts


def _names(root: Path) -> list[str]:
    """The names in a library, sorted."""
    return sorted(place.name for place in root.iterdir() if _NAME.fullmatch(place.name) and (place / NOTE).is_file())


def find_prompt(text: str, library: str | Path | None) -> Prompt:
    """A prompt by its name in a library, or by its folder.

    Raises
    ------
    PetError
        When it is neither, with the names that there are.
    """
    root = Path(library or DEFAULT_LIBRARY).expanduser()
    if _NAME.fullmatch(text) and (root / text / NOTE).is_file():
        return read_prompt(root / text)
    place = Path(text).expanduser()
    if place.is_dir():
        return read_prompt(place.resolve())
    names = _names(root) if root.is_dir() else []
    more = f", ... ({len(names)} in all)" if len(names) > _SHOWN else ""
    there = f"in {root} there are {', '.join(names[:_SHOWN])}{more}" if names else f"there are no prompts in {root}"
    raise PetError(f"prompt {clean(text)!r} is neither in the library nor a folder; {there}")


def check_backbone(prompt: Prompt, model: str, fingerprint: str) -> None:
    """Refuse a prompt of another model.

    Raises
    ------
    PetError
        Naming both models.
    """
    if prompt.fingerprint != fingerprint:
        raise PetError(
            f"prompt {prompt.name}: it belongs to the model {prompt.backbone} (hash {prompt.fingerprint[:12]}), and "
            f"{model} is another one (hash {fingerprint[:12]}); use that model, or map the prompt onto this one: "
            "--project-prompt and the model that it belongs to"
        )


def of_backbone(prompts: Sequence[Prompt], fingerprint: str) -> list[Prompt]:
    """The prompts that belong to a model."""
    return [prompt for prompt in prompts if prompt.fingerprint == fingerprint]


def describe(task: Task, patterns: list[Pattern] | None = None) -> dict[str, Any]:
    """What a prompt's notes say of a task: its name, its patterns, and the words of each."""
    return {
        "task": task.name,
        "patterns": [
            {
                "template": pattern.template.source,
                "verbalizer": {label: list(words) for label, words in pattern.verbalizer.words.items()},
            }
            for pattern in (task.patterns if patterns is None else patterns)
        ],
    }
