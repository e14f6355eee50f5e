"""Folder locks: one process at a time in a run directory."""

from __future__ import annotations

import errno
import os
import platform
import weakref
from pathlib import Path

from pet.errors import PetError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}
_locks: weakref.WeakSet[FolderLock] = weakref.WeakSet()


class FolderLock:
    """An exclusive lock on a folder, held through an open file in it.

    The operating system releases it when the process ends for any reason, so a dead process never
    blocks others. The lock file is not deleted: otherwise two processes could lock two different files
    of the same name.

    Parameters
    ----------
    folder : Path
        An existing folder.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.supported = fcntl is not None
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Acquire the lock.

        Sets ``supported`` to False if the system or file system has no locks.

        Raises
        ------
        PetError
            If another process holds the lock; the message has its process id.
        OSError
            If the lock file cannot be created.
        """
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(self.folder / ".lock", flags, 0o666)
        try:
            self._lock(descriptor)
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()} {platform.node()}\n".encode())
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        _locks.add(self)

    def _lock(self, descriptor: int) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                self.supported = False
                return
            if not isinstance(error, (BlockingIOError, PermissionError)):
                raise
            holder = os.pread(descriptor, 300, 0).decode("utf-8", "replace").split()
            who = f"process {holder[0]}" if holder else "another process"
            where = f" on {holder[1]}" if len(holder) > 1 and holder[1] != platform.node() else ""
            raise PetError(
                f"{self.folder} is in use by {who}{where}; wait until it ends, or choose another folder"
            ) from None

    def release(self) -> None:
        """Release the lock, if held."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        _locks.discard(self)
        try:
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def _forget(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _forget_in_child() -> None:
    # A forked worker inherits the open file and thus the lock. If it outlived a killed parent, the
    # folder would appear to be in use.
    for lock in list(_locks):
        lock._forget()
    _locks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
