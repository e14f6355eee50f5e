"""Reading what an earlier run was asked to do, to do it again or to use what it left."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from pet.errors import PetError
from pet.run.settings import RunSettings
from pet.store.manifest import CONFIG, read_config
from pet.task.task import Task

_SEED = re.compile(r"seed-\d+")


def is_config(path: str | Path) -> bool:
    """Whether a file is the config.yaml of a run, and not a task file."""
    place = Path(path).expanduser()
    if place.name != CONFIG or not place.is_file():
        return False
    try:
        return isinstance(read_config(place.parent).get("settings"), dict)
    except PetError:
        return False


def is_run(folder: str | Path) -> bool:
    """Whether a folder holds a run."""
    return is_config(Path(folder, CONFIG))


def load_task(name_or_path: str) -> Task:
    """The task of that name, in that task file, or of the run with that config.yaml."""
    if is_config(name_or_path):
        return Task.from_dict(read_settings(Path(name_or_path).expanduser().parent).task)
    return Task.load(name_or_path)


def read_settings(folder: str | Path) -> RunSettings:
    """What the run in a folder was asked to do.

    Raises
    ------
    PetError
        When the folder holds no run, several (one a seed), or a config.yaml that is damaged.
    """
    place = Path(folder).expanduser()
    if not (place / CONFIG).is_file():
        raise PetError(_no_run(place))
    values = read_config(place).get("settings")
    if not isinstance(values, dict):
        raise PetError(f"{place / CONFIG}: this is not the config of a run: there is no key `settings`")
    problems = _wrong_kinds(values)
    if problems:
        raise PetError([f"{place / CONFIG}: settings.{problem}" for problem in problems])
    return RunSettings.from_dict(values)


def _no_run(place: Path) -> str:
    if not place.exists():
        return f"{place}: there is no such folder; name one that `pet run ... -o` made"
    seeds = sorted(p.name for p in place.iterdir() if _SEED.fullmatch(p.name)) if place.is_dir() else []
    if seeds:
        return f"{place} holds a run for each seed; name one of them, {place / seeds[0]} for instance"
    return f"{place} holds no run (there is no {CONFIG} in it); name a folder that `pet run ... -o` made"


def _wrong_kinds(values: Mapping[str, Any]) -> list[str]:
    """What someone who edited the file by hand may have broken."""
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
            problems.append(f"{item.name} is {value!r}; it must be a {wanted.__name__}")
    return problems
