"""Build the files of a stage, in any process, before a run directory adopts them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pet.store.disk import disk_errors
from pet.store.files import hash_file, plain
from pet.store.folders import remove, remove_quietly, settle_tree
from pet.store.manifest import peak_memory, versions


def make_files(
    name: str,
    folder: Path,
    build: Callable[[Path], Mapping[str, Any] | None],
    files: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Build a stage's files in a separate folder, which is removed on failure.

    Parameters
    ----------
    name : name of the stage, for messages
    folder : the folder to build in; it is replaced
    build, files : see `pet.store.directory.RunDirectory.stage`

    Returns
    -------
    dict of plain values, for `RunDirectory.keep`
        - ``outputs``: file relative to `folder` -> [bytes, sha256]
        - ``seconds``
        - ``peak_memory_bytes``: of this process
        - ``versions``
        - ``info``

    Raises
    ------
    PetError
        If the disk is full, failing or not writable.
    """
    with disk_errors(f"write {name} in {folder.parent}"):
        try:
            remove(folder)
            os.mkdir(folder)
            begun = time.monotonic()
            info = plain(build(folder) or {}, finite=True)
            seconds = round(time.monotonic() - begun, 3)
            made = _files_in(folder) if files is None else list(files)
            lost = [file for file in made if not (folder / file).is_file()]
            if lost:
                raise RuntimeError(f"stage {name} did not write {', '.join(lost)}")
            outputs = {file: [(folder / file).stat().st_size, hash_file(folder / file)] for file in made}
            settle_tree(folder)
        except BaseException:
            remove_quietly(folder)
            raise
    return {"outputs": outputs, "seconds": seconds, **peak_memory(), "versions": versions(), "info": info}


def _files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
