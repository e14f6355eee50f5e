"""Refuse folders that lead somewhere else: runs and prompt libraries may come from other people."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pet.errors import PetError

_SHOWN = 10


def check_inside(folder: str | os.PathLike[str], what: str = "run") -> None:
    """Check that everything in a folder is a file or a folder, and that links in it stay inside.

    This is the gate for every run and prompt library, before its files are opened. The folder itself may be
    a link. It guards against the content of a received folder, not against someone who changes the folder
    later: `check_place` checks again before a stage is moved into place, but leaves a short gap.
    Hard links need no check: files are replaced and not written into.

    Parameters
    ----------
    folder : the folder
    what : what to call it in messages

    Raises
    ------
    PetError
        Naming links that lead out of the folder, pipes, sockets and devices.
    """
    root = os.path.realpath(folder)
    problems = [
        f"{Path(folder, os.path.relpath(entry.path, root))}: {problem}"
        for entry in _entries(root)
        if (problem := _problem(entry, root, what))
    ]
    if problems:
        more = [f"{folder}: {len(problems) - _SHOWN} more such files"] if len(problems) > _SHOWN else []
        raise PetError(problems[:_SHOWN] + more)


def check_place(place: Path, folder: Path) -> None:
    """Check again, right before a place in a run is written to, that no link to it leads out.

    Raises
    ------
    PetError
        Naming the place.
    """
    target = os.path.realpath(place)
    if not _is_in(target, os.path.realpath(folder)):
        raise PetError(f"{place}: leads out of the run, to {target}, since a link was put there; delete the link")


def _is_in(target: str, root: str) -> bool:
    return target == root or target.startswith(root.rstrip(os.sep) + os.sep)


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    """Yield everything below a folder without following links."""
    waiting = [folder]
    while waiting:
        with (
            suppress(FileNotFoundError),
            os.scandir(waiting.pop()) as entries,
        ):  # others may delete files
            for entry in sorted(entries, key=lambda entry: entry.name):
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)


def _problem(entry: os.DirEntry[str], root: str, what: str) -> str:
    if entry.is_symlink():
        target = os.path.realpath(entry.path)
        if _is_in(target, root):
            return ""
        return (
            f"is a link that leads out of the {what}, to {target}; delete it, or replace it with what it points to"
            " if you made it yourself"
        )
    if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False):
        return ""
    with suppress(FileNotFoundError):
        os.lstat(entry.path)
        return f"is a pipe, a socket or a device and does not belong in a {what}; delete it"
    return ""
