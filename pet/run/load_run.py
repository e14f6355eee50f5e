"""Read the settings of an existing run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pet.errors import PetError
from pet.resources import expand
from pet.run.settings import SEEDS, RunSettings
from pet.store.manifest import CONFIG, MANIFEST, read_config
from pet.store.schema import anything, check, flag, list_of, mapping_of, maybe, record, text, whole
from pet.store.tree import check_inside
from pet.task.task import Task

_SEED = re.compile(r"(draw-\d+-)?seed-\d+")


def _files(value: Any, place: str) -> Iterator[str]:
    return (list_of(text()) if isinstance(value, list) else text())(value, place)


_WHOLE = whole(-SEEDS, SEEDS)  # `RunSettings` has the ranges
_CONFIG = record(
    {
        "settings": record(
            {
                "task": mapping_of(anything()),
                "train": maybe(text()),
                "unlabeled": maybe(text()),
                "test": maybe(text()),
                "model": text(),
            },
            {
                "method": text(100),
                "student_model": maybe(text()),
                "shots": maybe(_WHOLE),
                "examples": maybe(_WHOLE),
                "balanced": flag(),
                "pool_size": maybe(_WHOLE),
                "corrections": maybe(_files),
                "seed": _WHOLE,
                "recipe": text(100),
                "settings": mapping_of(anything(), text(100)),
                "columns": mapping_of(text(), text()),
                "table_format": mapping_of(text(100), text(100)),
                "device": text(100),
                "precision": text(100),
                "baselines": flag(),
                "allow_pickle": flag(),
                "init_prompt": maybe(text()),
                "prompt_library": maybe(text()),
                "project_prompt": maybe(text()),
                "members": list_of(text()),
                "reuse": maybe(text()),
                "estimate": maybe(flag()),
                "draw": maybe(_WHOLE),
            },
        )
    },
    {"recipe": mapping_of(anything(), text(100)), "hashes": mapping_of(anything(), text(100))},
)


def is_config(path: str | Path) -> bool:
    """Return True if a file is a run's config.yaml and not a task file."""
    place = expand(path)
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
        return Task.from_dict(read_settings(expand(name_or_path).parent).task)
    return Task.load(name_or_path)


def read_settings(folder: str | Path) -> RunSettings:
    """Read the settings of the run in a folder, without `allow_pickle`, which a file from elsewhere cannot allow.

    Raises
    ------
    PetError
        If the folder contains no run, several runs (one per seed), or a damaged config.yaml.
    """
    place = expand(folder)
    if not (place / CONFIG).is_file():
        raise PetError(no_run(place))
    config = read_config(place)
    values = config.get("settings")
    if not isinstance(values, dict):
        raise PetError(f"{place / CONFIG}: not the config of a run: the key `settings` is missing")
    check(config, _CONFIG, str(place / CONFIG), "correct it, or repeat the run")
    if os.path.lexists(place / MANIFEST):  # a copy of config.yaml elsewhere is not a run
        check_inside(place)
    try:
        settings = RunSettings.from_dict(values)
    except PetError as error:
        raise PetError([f"{place / CONFIG}: settings: {problem}" for problem in error.problems]) from None
    return replace(settings, allow_pickle=False)


def no_run(place: Path) -> str:
    """Say that a folder is not a run, and what to name instead."""
    if not place.exists():
        return f"{place}: no such folder; name one written by `pet run ... -o`"
    seeds = sorted(p.name for p in place.iterdir() if _SEED.fullmatch(p.name)) if place.is_dir() else []
    if seeds:
        return f"{place} contains several runs; name one of them, such as {place / seeds[0]}"
    return f"{place} is not a run (it has no {CONFIG}); name a folder written by `pet run ... -o`"
