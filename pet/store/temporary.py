"""Temporary folders for unfinished outputs, and the removal of those that killed processes left."""

from __future__ import annotations

import os
import re
import secrets
import stat
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pet.errors import PetError
from pet.store.folders import TEMPORARY, remove_quietly
from pet.store.lock import FolderLock, holder_of, this_machine

_OURS = re.compile(rf"{re.escape(TEMPORARY)}[0-9a-f]{{16}}-.*", re.DOTALL)
_ABANDONED = 30 * 24 * 3600.0  # seconds without a change, after which another machine's folder is a leftover


@contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """Make a folder for files that are not finished yet; it is removed when the block ends.

    Its name is random and only this user can enter it, so nobody else can put a link in the place of a
    file that is about to be written. It is locked while it is in use, which tells `remove_leftovers`
    whether its process is alive.

    Parameters
    ----------
    parent : where to make it, on the same file system as the output
    name : name of the output, as a hint for people
    """
    folder = parent / f"{TEMPORARY}{secrets.token_hex(8)}-{name[-40:]}"
    os.mkdir(folder, 0o700)
    lock, process = FolderLock(folder), os.getpid()
    try:
        lock.acquire()
        yield folder
    finally:
        if os.getpid() == process:  # a forked worker must not remove the files of its parent
            with suppress(OSError):
                lock.release()
            remove_quietly(folder)


class Scratch:
    """A temporary folder for data that does not fit into memory; see `temporary_folder`.

    It is removed by `close`, together with this object, or at the end of the process. If the process is
    killed, the next call removes it.

    Parameters
    ----------
    parent : where to make it; default: the system's folder for temporary files

    Attributes
    ----------
    path : Path

    Examples
    --------
    >>> with Scratch() as folder:
    ...     folder.is_dir()
    True
    >>> folder.exists()
    False
    """

    def __init__(self, parent: str | os.PathLike[str] | None = None):
        place = Path(parent or tempfile.gettempdir())
        remove_leftovers(place)
        stack = ExitStack()
        self.path = stack.enter_context(temporary_folder(place, "scratch"))
        self._remove = weakref.finalize(self, stack.close)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the folder."""
        self._remove()


def remove_leftovers(parent: Path) -> None:
    """Remove the temporary folders in a folder whose processes were killed.

    Folders of other users are left alone, and so is every folder that is locked. A file system may keep
    locks on each machine, so a folder of another machine is removed only if nothing in it has changed for
    30 days.
    """
    with suppress(OSError):
        for name in os.listdir(parent):
            if _OURS.fullmatch(name) and _is_abandoned(parent / name):
                remove_quietly(parent / name)


def _is_abandoned(folder: Path) -> bool:
    try:
        about = os.lstat(folder)
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != getattr(os, "geteuid", lambda: about.st_uid)():
            return False
        holder = holder_of(folder)
        if (holder is None or holder[1] != this_machine()) and time.time() - _last_change(folder) < _ABANDONED:
            return False
        lock = FolderLock(folder)
        lock.acquire()
        lock.release()
    except (OSError, PetError):
        return False
    return lock.supported


def _last_change(folder: Path) -> float:
    """Return the time of the last change in a folder, in seconds."""
    times = [os.lstat(folder).st_mtime]
    for parent, folders, files in os.walk(folder):
        times += [os.lstat(Path(parent, name)).st_mtime for name in (*folders, *files)]
    return max(times)
