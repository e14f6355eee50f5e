"""Read the settings of an existing run."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from pet.errors import PetError
from pet.run.settings import RunSettings
from pet.store.manifest import CONFIG, MANIFEST, read_config
from pet.store.tree import check_inside
from pet.task.task import Task

_SEED = re.compile(r"seed-\d+")


def is_config(path: str | Path) -> bool:
    """Return True if a file is a run's config.yaml and not a task file."""
    place = Path(path).expanduser()
    if place.name != CONFIG or not place.is_file():
        return False
    try:
        return isinstance(read_config(place.parent).get("settings"), dict)
    except PetError:
        return False


def is_run(folder: str | Path) -> bool:
    """Return True if a folder contains a run."""
    return is_config(Path(folder, CONFIG))


def load_task(name_or_path: str) -> Task:
    """Load a task by name, from a task file, or from a run's config.yaml."""
    if is_config(name_or_path):
        return Task.from_dict(read_settings(Path(name_or_path).expanduser().parent).task)
    return Task.load(name_or_path)


def read_settings(folder: str | Path) -> RunSettings:
    """Read the settings of the run in a folder.

    Raises
    ------
    PetError
        If the folder contains no run, several runs (one per seed), or a damaged config.yaml.
    """
    place = Path(folder).expanduser()
    if not (place / CONFIG).is_file():
        raise PetError(_no_run(place))
    values = read_config(place).get("settings")
    if not isinstance(values, dict):
        raise PetError(f"{place / CONFIG}: not the config of a run: the key `settings` is missing")
    problems = _wrong_kinds(values)
    if problems:
        raise PetError([f"{place / CONFIG}: settings.{problem}" for problem in problems])
    if os.path.lexists(place / MANIFEST):  # a copy of config.yaml elsewhere is no run
        check_inside(place)
    return RunSettings.from_dict(values)


def _no_run(place: Path) -> str:
    if not place.exists():
        return f"{place}: no such folder; name one written by `pet run ... -o`"
    seeds = sorted(p.name for p in place.iterdir() if _SEED.fullmatch(p.name)) if place.is_dir() else []
    if seeds:
        return f"{place} contains one run per seed; name one of them, such as {place / seeds[0]}"
    return f"{place} holds no run (no {CONFIG} in it); name a folder written by `pet run ... -o`"


def _wrong_kinds(values: Mapping[str, Any]) -> list[str]:
    """Find values of the wrong type, as after an edit by hand."""
    problems = []
    for item in fields(RunSettings):
        required = item.default is MISSING and item.default_factory is MISSING
        if item.name not in values:
            problems += [f"{item.name} is missing"] if required else []
            continue
        value = values[item.name]
        kind = str(item.type).removesuffix(" | None")
        if value is None and kind != str(item.type):
            continue
        wanted = {"str": str, "int": int, "bool": bool, "tuple[str, ...]": list}.get(kind, dict)
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            problems.append(f"{item.name} is {value!r}; it must be of type {wanted.__name__}")
    return problems
