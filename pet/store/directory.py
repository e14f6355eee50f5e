"""Run directories: atomic stages, and a manifest of them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from pet.errors import PetError
from pet.progress import Reporter
from pet.store.build import make_files
from pet.store.disk import disk_errors
from pet.store.files import hash_file, hash_inputs, plain
from pet.store.folders import TEMPORARY, make_folders, remove, remove_quietly, remove_temporaries, sync_folder
from pet.store.lock import LOCK, FolderLock
from pet.store.manifest import (
    CONFIG,
    check_config,
    read_config,
    read_stages,
    stage_info,
    write_config,
    write_stages,
)
from pet.store.recorded import difference
from pet.store.schema import Check
from pet.store.tree import check_inside, check_place

__all__ = ["RunDirectory", "hash_file", "hash_inputs"]

# What a process killed before writing config.yaml may leave behind.
_BEGUN = re.compile(rf"{re.escape(LOCK)}|{re.escape(TEMPORARY)}(\d+|[0-9a-f]{{16}})-config\.yaml")


class RunDirectory:
    """The folder of a run, locked by one process, which builds and reuses stages in it.

    Use it as a context manager. If the process is killed at any moment, every stage is either
    complete or will be rebuilt.

    Parameters
    ----------
    path : str or path
        The folder. It is created if missing; otherwise it must be empty or contain the same run.
    config : mapping
        All resolved settings, as plain values; saved as config.yaml.
    reporter : Reporter
        Reports which stages are reused.

    Raises
    ------
    PetError
        On entering: if the folder is not writable, is in use, or contains another run or files
        that are not a run.
    """

    def __init__(self, path: str | os.PathLike[str], config: Mapping[str, Any], *, reporter: Reporter):
        self.path = Path(path)
        self.config: dict[str, Any] = plain(config)
        hash_inputs(self.config)  # rejects NaN, which would not equal itself when read back
        self.reporter = reporter
        self._lock = FolderLock(self.path)
        self._stages: dict[str, dict[str, Any]] | None = None

    def __enter__(self) -> RunDirectory:
        try:
            with disk_errors(f"create a run in {self.path}", paths=True):
                self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def _open(self) -> None:
        # Check before creating the lock file, so that nothing is left in a folder that is not ours.
        self._refuse_foreign()
        make_folders(self.path)
        self._lock.acquire()
        if not self._lock.supported:
            self.reporter.warn(f"{self.path}: this file system has no locks; make sure only one process uses it")
        self._refuse_foreign()
        remove_temporaries(self.path)
        if not (self.path / CONFIG).exists() or not self._others():
            write_config(self.path, self.config)
        self._stages = read_stages(self.path)

    def _refuse_foreign(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise PetError(f"{self.path} is a file; give a folder for the run")
        if not self.path.is_dir():
            return
        check_inside(self.path)
        others = self._others()
        if (self.path / CONFIG).exists():
            # A run that failed before building anything may start over with other settings.
            if others or read_config(self.path).keys() != self.config.keys():
                check_config(self.path, self.config)
        elif others:
            raise PetError(
                f"{self.path} contains files but no run ({', '.join(others[:3])}"
                f"{', ...' if len(others) > 3 else ''}); choose an empty or new folder"
            )

    def _others(self) -> list[str]:
        """Files besides the lock, the config and its leftovers from a killed process."""
        names = (name for name in os.listdir(self.path) if name != CONFIG)
        return sorted(name for name in names if not _BEGUN.fullmatch(name))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stages = None
        self._lock.release()

    def stage(
        self,
        name: str,
        inputs: Mapping[str, Any],
        build: Callable[[Path], Mapping[str, Any] | None],
        *,
        files: Sequence[str] | None = None,
    ) -> Path:
        """Build a stage, or reuse it if it was built from the same inputs.

        Parameters
        ----------
        name : str
            Location in the run, with ``/`` between folders: ``"g0/p2-r1"``.
        inputs : mapping
            Everything the result depends on, as plain values. Represent the outputs of earlier
            stages by their `fingerprint`.
        build : callable
            Receives an empty folder, writes into it, and returns what `info` should return (plain
            values; NaN becomes None). Not called if the stage is reused.
        files : sequence of str, optional
            The files that `build` writes, if they should be placed next to other stages instead of in
            a folder of their own: stage ``"g0/labels"`` with ``["labels.parquet"]`` creates
            ``g0/labels.parquet``.

        Returns
        -------
        Path
            The folder of the outputs: ``path/name``, or its parent if `files` is given.

        Raises
        ------
        PetError
            If the disk is full or not writable. Completed stages are unaffected.
        """
        if not self.has(name, inputs, files):
            folder = self.path / f"{TEMPORARY}{name.replace('/', '--')}"
            try:
                self.keep(name, inputs, folder, make_files(name, folder, build, files), files)
            finally:
                remove_quietly(folder)
        return self._place(name, files)

    def has(self, name: str, inputs: Mapping[str, Any], files: Sequence[str] | None = None) -> bool:
        """Return True, and report it, if a stage built from these inputs exists with unchanged files. See `stage`."""
        self._check_name(name)
        stage, fingerprint = self._known.get(name), hash_inputs(inputs)
        if stage is None or stage["state"] != "done" or stage["inputs"] != fingerprint:
            return False
        for file, recorded in stage["outputs"].items():
            changed = difference(self.path / file, recorded)
            if changed:
                self.reporter.warn(f"{name}: {self.path / file} {changed}; building the stage again")
                return False
        if not self._place(name, files).is_dir():
            return False
        self.reporter.info(f"{name}: reusing finished stage")
        return True

    def keep(
        self,
        name: str,
        inputs: Mapping[str, Any],
        folder: Path,
        made: Mapping[str, Any],
        files: Sequence[str] | None = None,
    ) -> None:
        """Adopt a stage built by this or another process.

        Parameters
        ----------
        name, inputs, files : see `stage`
        folder : the built files, in a folder inside this run's folder; they are moved
        made : the return value of `pet.store.build.make_files`
        """
        with disk_errors(f"write {name} in {self.path}", paths=True):
            self._take(name, hash_inputs(inputs), folder, made, files)

    def info(self, name: str, schema: Check) -> dict[str, Any]:
        """Return what `build` returned for a stage.

        Raises
        ------
        PetError
            If it does not match the schema, as after an edit of the manifest.
        KeyError
            If the stage does not exist.
        """
        if name not in self._known:
            raise KeyError(name)
        return stage_info(self.path, self._known, name, schema)

    def fingerprint(self, name: str) -> str:
        """Return the hash of a stage's outputs, to be used as an input of the stages that read them."""
        return hash_inputs(self._known[name]["outputs"])

    def _take(self, name: str, inputs: str, folder: Path, made: Mapping[str, Any], files: Sequence[str] | None) -> None:
        place = self._place(name, files)
        check_place(place, self.path)
        outputs = {(place / file).relative_to(self.path).as_posix(): about for file, about in made["outputs"].items()}
        self._drop(name)
        make_folders(place if files is not None else place.parent)
        if files is None:
            self._move_folder(folder, place)
        else:
            for file in files:
                os.replace(folder / file, place / file)
            sync_folder(place)
        self._known[name] = {"state": "done", "inputs": inputs, **made, "outputs": outputs}
        try:
            write_stages(self.path, self._known)
        except BaseException:
            del self._known[name]
            raise

    def _place(self, name: str, files: Sequence[str] | None) -> Path:
        return self.path / name if files is None else (self.path / name).parent

    def _drop(self, name: str) -> None:
        """Remove a stale stage from the manifest before its files change, so that the manifest is never wrong."""
        if self._known.pop(name, None) is not None:
            write_stages(self.path, self._known)

    def _move_folder(self, made: Path, place: Path) -> None:
        stale = made.with_name(made.name + ".stale")
        try:
            if place.exists() or place.is_symlink():
                remove(stale)
                os.replace(place, stale)
            os.replace(made, place)
            sync_folder(place.parent)
            sync_folder(self.path)
        finally:
            remove_quietly(stale)

    def _check_name(self, name: str) -> None:
        parts = name.split("/")
        if any(part in ("", ".", "..") or part.startswith(TEMPORARY) or "\\" in part for part in parts):
            raise ValueError(f"{name!r} is not a valid stage name")

    @property
    def _known(self) -> dict[str, dict[str, Any]]:
        if self._stages is None:
            raise RuntimeError("a RunDirectory can only be used inside its `with` block")
        return self._stages
