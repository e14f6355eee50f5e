"""The folder of a run: stages that are there in whole or not at all, and a manifest of them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from pet.errors import PetError
from pet.progress import Reporter
from pet.store.build import disk_errors, make_files
from pet.store.files import (
    TEMPORARY,
    hash_file,
    hash_inputs,
    make_folders,
    place_problem,
    plain,
    remove,
    remove_quietly,
    sync_folder,
)
from pet.store.lock import FolderLock
from pet.store.manifest import (
    CONFIG,
    check_config,
    read_config,
    read_stages,
    write_config,
    write_stages,
)

__all__ = ["RunDirectory", "hash_file", "hash_inputs"]

# What a process that was killed before it had written config.yaml may leave.
_BEGUN = re.compile(rf"\.lock|{re.escape(TEMPORARY)}\d+-config\.yaml")


class RunDirectory:
    """A run's folder, held by one process, in which stages are made and found again.

    Use it as a context manager. A process that is killed at any moment leaves every stage either
    finished, or to be made again.

    Parameters
    ----------
    path : str or path
        The folder. It is made when it is not there, and must be empty or hold the same run.
    config : mapping
        Everything resolved, in plain values; it becomes config.yaml.
    reporter : Reporter
        Is told which stages are kept.

    Raises
    ------
    PetError
        On entering: when the folder cannot be written to, is in use, holds another run, or holds
        files that are no run.
    """

    def __init__(self, path: str | os.PathLike[str], config: Mapping[str, Any], *, reporter: Reporter):
        self.path = Path(path)
        self.config: dict[str, Any] = plain(config)
        hash_inputs(self.config)  # refuses NaN, which would differ from itself when read again
        self.reporter = reporter
        self._lock = FolderLock(self.path)
        self._stages: dict[str, dict[str, Any]] | None = None

    def __enter__(self) -> RunDirectory:
        try:
            self._open()
        except OSError as error:
            self._lock.release()
            message = place_problem(error, f"make a run in {self.path}")
            if message is None:
                raise
            raise PetError(message) from error
        except BaseException:
            self._lock.release()
            raise
        return self

    def _open(self) -> None:
        # Looked at before the lock is made, so that nothing is left in a folder that is not ours.
        self._refuse_foreign()
        make_folders(self.path)
        self._lock.acquire()
        if not self._lock.supported:
            self.reporter.warn(f"{self.path}: no file locks here; see to it that only one process uses it")
        self._refuse_foreign()
        for leftover in list(self.path.rglob(f"{TEMPORARY}*")):
            remove(leftover)
        if not (self.path / CONFIG).exists() or not self._others():
            write_config(self.path, self.config)
        self._stages = read_stages(self.path)

    def _refuse_foreign(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise PetError(f"{self.path} is a file; name a folder for the run")
        if not self.path.is_dir():
            return
        others = self._others()
        if (self.path / CONFIG).exists():
            # A run that was refused before it made anything may begin anew with other settings.
            if others or read_config(self.path).keys() != self.config.keys():
                check_config(self.path, self.config)
        elif others:
            raise PetError(
                f"{self.path} holds files that are no run ({', '.join(others[:3])}"
                f"{', ...' if len(others) > 3 else ''}): choose an empty or a new folder"
            )

    def _others(self) -> list[str]:
        """What is in the folder besides the lock, the config, and what a killed process left of it."""
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
        """Make a stage, or find it made from the same inputs.

        Parameters
        ----------
        name : str
            Its place in the run, with ``/`` between folders: ``"g0/p2-r1"``.
        inputs : mapping
            All that its outcome depends on, in plain values. What it takes from an earlier stage
            goes in as that stage's `fingerprint`.
        build : callable
            Gets an empty folder, writes into it, and returns what `info` shall know (plain
            values; NaN becomes None). Not called when the stage is there.
        files : sequence of str, optional
            The files that `build` makes, when they shall stand beside other stages instead of in
            a folder of their own: stage ``"g0/labels"`` with ``["labels.parquet"]`` makes
            ``g0/labels.parquet``.

        Returns
        -------
        Path
            The folder that holds what was made: ``path/name``, or with `files` its parent.

        Raises
        ------
        PetError
            When the disk is full or may not be written to. Finished stages stay as they are.
        """
        if not self.has(name, inputs, files):
            folder = self.path / f"{TEMPORARY}{name.replace('/', '--')}"
            try:
                self.keep(name, inputs, folder, make_files(name, folder, build, files), files)
            finally:
                remove_quietly(folder)
        return self._place(name, files)

    def has(self, name: str, inputs: Mapping[str, Any], files: Sequence[str] | None = None) -> bool:
        """Whether a stage was made from these inputs and is there, which is told; see `stage`."""
        self._check_name(name)
        stage, fingerprint = self._known.get(name), hash_inputs(inputs)
        if stage is None or stage["state"] != "done" or stage["inputs"] != fingerprint:
            return False
        there = self._place(name, files).is_dir() and all(
            _size(self.path / file) == size for file, (size, _) in stage["outputs"].items()
        )
        if there:
            self.reporter.info(f"{name}: found, kept")
        return there

    def keep(
        self,
        name: str,
        inputs: Mapping[str, Any],
        folder: Path,
        made: Mapping[str, Any],
        files: Sequence[str] | None = None,
    ) -> None:
        """Take in a stage that was made in a folder beside the others, by this process or another one.

        Parameters
        ----------
        name, inputs, files : see `stage`
        folder : what was made, in this run's folder; it is moved
        made : what `pet.store.build.make_files` returned of it
        """
        with disk_errors(f"make {name} in {self.path}"):
            self._take(name, hash_inputs(inputs), folder, made, files)

    def info(self, name: str) -> dict[str, Any]:
        """What `build` returned when the stage was made. KeyError for a stage that is not there."""
        info: dict[str, Any] = self._known[name]["info"]
        return info

    def fingerprint(self, name: str) -> str:
        """Hash of all that a stage has written: an input of the stages that read it."""
        return hash_inputs(self._known[name]["outputs"])

    def _take(self, name: str, inputs: str, folder: Path, made: Mapping[str, Any], files: Sequence[str] | None) -> None:
        place = self._place(name, files)
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
        """Forget a stale stage before its files change, so that the manifest never says too much."""
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
            raise ValueError(f"{name!r} cannot name a stage")

    @property
    def _known(self) -> dict[str, dict[str, Any]]:
        if self._stages is None:
            raise RuntimeError("a RunDirectory is used inside its `with` block only")
        return self._stages


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None
