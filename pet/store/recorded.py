"""Compare files of a run with the hashes in its manifest, to find disk errors and accidental changes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pet.errors import PetError
from pet.store.files import hash_file
from pet.store.manifest import CONFIG, MANIFEST, read_stages

_THREADS = 4
_DEEPEST = 5  # folders between a run and its files
_known: dict[tuple[str, int, int, int], str] = {}  # hashes of files that this process has read


def difference(path: Path, recorded: Sequence[Any]) -> str | None:
    """Return how a file differs from its record in the manifest, or None if it does not.

    Each process reads a file only once, unless it changes. SHA-256 takes half a second per gigabyte on current
    processors, a fraction of the time that it takes to open a model of that size.

    Parameters
    ----------
    path : the file
    recorded : its size in bytes and its SHA-256; old manifests may have the size alone
    """
    try:
        about = path.stat()
    except OSError:
        return "is missing"
    if not path.is_file():
        return "is not a file"
    if about.st_size != recorded[0]:
        return f"has {about.st_size} bytes instead of {recorded[0]}"
    if len(recorded) < 2 or not recorded[1]:
        return None
    key = (os.path.realpath(path), about.st_size, about.st_mtime_ns, about.st_ino)
    try:
        if key not in _known:
            _known[key] = hash_file(path)
    except OSError as error:  # a bad sector
        return f"cannot be read ({error.strerror or error})"
    return None if _known[key] == recorded[1] else "has other content than the run wrote"


def check_recorded(*paths: Path) -> None:
    """Check folders of finished stages, or files in them, before they are used outside their run.

    Paths that are not in a run, or not in its manifest, are not checked. Missing files are left to their readers.

    Raises
    ------
    PetError
        Naming the damaged files.
    """
    with ThreadPoolExecutor(_THREADS) as threads:  # hashing large files releases the interpreter's lock
        problems = [problem for found in threads.map(recorded_problems, paths) for problem in found]
    if problems:
        raise PetError(problems)


def recorded_problems(path: Path) -> list[str]:
    """Return the messages of `check_recorded`."""
    place = Path(os.path.realpath(path))
    run = next((folder for folder in place.parents[:_DEEPEST] if _is_run(folder)), None)
    if run is None:
        return []
    name = place.relative_to(run).as_posix()
    stages = read_stages(run)
    outputs = dict(stages[name]["outputs"]) if name in stages else {}
    for stage in stages.values():
        if name in stage["outputs"]:
            outputs[name] = stage["outputs"][name]
    found = {run / file: difference(run / file, recorded) for file, recorded in outputs.items()}
    return [
        f"{file}: {problem}, so it is damaged or was changed; restore it, build it again with `pet run {run / CONFIG}`,"
        " or use a changed file from a folder outside the run"
        for file, problem in found.items()
        if problem and problem != "is missing"
    ]


def _is_run(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() and (folder / CONFIG).is_file()
