"""A library of trained prompts: a folder with one subfolder per prompt.

A subfolder contains ``learned.safetensors``, like a member of a run, and ``prompt.json``: the tasks that the prompt
was trained on, its model, and metrics.
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
from pet.recipe import DEFAULT_LIBRARY
from pet.resources import expand
from pet.store.files import plain
from pet.store.folders import make_folders
from pet.store.json_reader import read_json
from pet.store.outputs import writing_folder
from pet.store.schema import anything, check, list_of, mapping_of, record, text, whole
from pet.store.tree import check_inside
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
_REMOVE = "recreate the prompt, or remove it from the library"
_COUNT = whole(0, 10**15)
_PATTERN = record({"template": text(), "verbalizer": mapping_of(list_of(text(1000)))})
_SCHEMA = record(
    {
        "kind": text(100),
        "backbone": record({"name": text(1000), "hash": text(200)}),
        "shape": list_of(_COUNT, 2, 2),
        "tasks": list_of(record({"task": text(1000), "patterns": list_of(_PATTERN)})),
        "steps": _COUNT,
        "examples": _COUNT,
        "metrics": mapping_of(anything(), text(1000)),
        "origin": mapping_of(anything(), text(1000)),
    }
)


@dataclass(frozen=True)
class Prompt:
    """A trained prompt.

    Attributes
    ----------
    name : its subfolder in the library
    vectors : float32 array of shape (n, D)
    backbone, fingerprint : name and hash of its model
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
        """Number of vectors."""
        return len(self.vectors)

    @property
    def digest(self) -> str:
        """SHA-256 of the vectors and the model's hash; the notes are not included."""
        content = hashlib.sha256(f"{self.fingerprint} {self.vectors.shape} ".encode())
        content.update(np.ascontiguousarray(self.vectors, dtype="<f4").tobytes())
        return content.hexdigest()

    @property
    def tasks(self) -> str:
        """Comma-separated names of its tasks."""
        return ", ".join(task["task"] for task in self.about["tasks"])


def check_name(name: str) -> str:
    """Return the name if it is a portable folder name (never a path).

    Raises
    ------
    PetError
        If it is not.
    """
    if not _NAME.fullmatch(name):
        raise PetError(
            f"prompt {clean(name)!r}: a name may contain letters, digits, dots, dashes and underscores, starts with a "
            "letter or a digit, and has at most 100 characters"
        )
    return name


def as_name(text: str) -> str:
    """Convert any text to a valid prompt name, replacing other characters by dashes.

    Examples
    --------
    >>> as_name("My task (v2)")
    'My-task-v2'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:60] or "prompt"


def portable(model: str) -> str:
    """Return the name of a model without local paths: a hub name, or the last part of a folder."""
    place = expand(model)
    return place.resolve().name if place.is_dir() else model


def read_prompt(folder: Path) -> Prompt:
    """Read a prompt from its folder.

    Raises
    ------
    PetError
        If the folder contains no prompt or a damaged one.
    """
    path = folder / NOTE
    if not path.is_file():
        raise PetError(f"{folder} is not a trained prompt (no {NOTE}); create prompts with `pet prompts add RUN`")
    learned = read_member(folder)
    note = read_json(path, _REMOVE)
    if not isinstance(note, dict) or note.get("format") != _FORMAT:
        raise PetError(f"{path}: is not in the format of this version of pet; {_REMOVE}")
    check(note, _SCHEMA, str(path), _REMOVE)
    problem = _problem(note, learned)
    if problem:
        raise PetError(f"{path} is damaged ({problem}); {_REMOVE}")
    about = {key: note[key] for key in ("kind", "tasks", "steps", "examples", "metrics", "origin")}
    vectors = learned.arrays[VECTORS].numpy()
    return Prompt(folder.name, vectors, clean(learned.backbone), learned.fingerprint, about)


def _problem(note: Any, learned: Learned) -> str:
    """Return what is wrong with the files of a prompt; "" if nothing is."""
    vectors = learned.arrays.get(VECTORS)
    if learned.options.get("tuning") != "prompt" or vectors is None or vectors.ndim != 2 or not len(vectors):
        return "its tensors are not a prompt"
    if vectors.dtype != torch.float32:
        return "its vectors are not float32"
    if note["backbone"]["hash"] != learned.fingerprint or note["shape"] != list(vectors.shape):
        return "it does not match the vectors next to it"
    return ""


def write_prompt(library: str | Path, prompt: Prompt) -> Path:
    """Add a prompt to a library, atomically. Adding the same prompt again changes nothing.

    Returns
    -------
    Path
        Its folder.

    Raises
    ------
    PetError
        If another prompt has this name, or the folder cannot be written.
    """
    place = available_folder(library, prompt)
    if place.exists():
        return place
    make_folders(expand(library))
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
        dumped = json.dumps(plain(note, finite=True), indent=2, ensure_ascii=False)
        (folder / NOTE).write_text(dumped + "\n", encoding="utf-8")
    return place


def available_folder(library: str | Path, prompt: Prompt) -> Path:
    """Return the folder for a prompt; PetError if another prompt is there."""
    place = prompt_folder(library, prompt.name)
    if not place.exists() or ((place / NOTE).is_file() and read_prompt(place).digest == prompt.digest):
        return place
    raise _taken(place)


def check_free(library: str | Path, name: str) -> None:
    """Check that a name is not in use, before a new prompt is trained; PetError if it is."""
    place = prompt_folder(library, name)
    if place.exists():
        raise _taken(place)


def prompt_folder(library: str | Path, name: str) -> Path:
    """Return the subfolder for a name; PetError if the name is invalid or the library is a file."""
    root = expand(library)
    if root.exists() and not root.is_dir():
        raise PetError(f"{library} is a file; give a folder for the prompt library")
    _check_library(root)
    return root / check_name(name)


def _check_library(root: Path) -> None:
    """Refuse a library with pipes or links that lead out of it: it may come from someone else."""
    if root.is_dir():
        check_inside(root, "prompt library")


def _taken(place: Path) -> PetError:
    return PetError(f"{place} already exists; choose another --name, or delete that prompt")


def list_prompts(library: str | Path) -> list[Prompt]:
    """Read all prompts of a library, sorted by name.

    Raises
    ------
    PetError
        If the folder does not exist or prompts are damaged; names all of them.
    """
    root = expand(library)
    if not root.is_dir():
        raise PetError(f"prompt library {library} not found; create it with `pet prompts add RUN -l {library}`")
    _check_library(root)
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
    """Return the sorted names of the prompts in a library."""
    return sorted(place.name for place in root.iterdir() if _NAME.fullmatch(place.name) and (place / NOTE).is_file())


def find_prompt(text: str, library: str | Path | None) -> Prompt:
    """Find a prompt by its name in a library, or by its folder.

    Raises
    ------
    PetError
        If there is no such prompt; lists the names in the library.
    """
    root = expand(library or DEFAULT_LIBRARY)
    _check_library(root)
    if _NAME.fullmatch(text) and (root / text / NOTE).is_file():
        return read_prompt(root / text)
    place = expand(text)
    if place.is_dir():
        check_inside(place, "prompt")
        return read_prompt(place.resolve())
    names = _names(root) if root.is_dir() else []
    more = f", ... ({len(names)} in total)" if len(names) > _SHOWN else ""
    there = f"prompts in {root}: {', '.join(names[:_SHOWN])}{more}" if names else f"{root} contains no prompts"
    raise PetError(f"prompt {clean(text)!r} is neither in the library nor a folder; {there}")


def check_backbone(prompt: Prompt, model: str, fingerprint: str) -> None:
    """Check that a prompt belongs to a model.

    Raises
    ------
    PetError
        If it does not; names both models.
    """
    if prompt.fingerprint != fingerprint:
        raise PetError(
            f"prompt {prompt.name} was trained for model {prompt.backbone} (hash {prompt.fingerprint[:12]}), not "
            f"{model} (hash {fingerprint[:12]}); use that model, or map the prompt to this one with "
            "--project-prompt and the name of its model"
        )


def of_backbone(prompts: Sequence[Prompt], fingerprint: str) -> list[Prompt]:
    """Return the prompts of one model."""
    return [prompt for prompt in prompts if prompt.fingerprint == fingerprint]


def describe(task: Task, patterns: list[Pattern] | None = None) -> dict[str, Any]:
    """Describe a task for a prompt's notes: its name, its patterns, and their label words."""
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
