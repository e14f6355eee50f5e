"""One process at a time in a run directory."""

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

    The operating system drops it when the process ends, however it ends, so a lock that was left
    behind by a dead process is no obstacle. The file itself stays: removing it would let two
    processes hold locks on two files of the same name.

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
        """Take the lock.

        ``supported`` is False afterwards where the system or the file system has no locks.

        Raises
        ------
        PetError
            When another process holds it, with the number of that process.
        OSError
            When the file cannot be made.
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
                f"{self.folder} is in use by {who}{where}: wait until it ends, or choose another folder"
            ) from None

    def release(self) -> None:
        """Give the lock back; nothing happens where it is not held."""
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
    # A forked worker inherits the open file and with it the lock; if it outlived a parent that
    # was killed, the folder would seem to be in use.
    for lock in list(_locks):
        lock._forget()
    _locks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
