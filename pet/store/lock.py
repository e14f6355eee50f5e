"""Folder locks: one process at a time in a run directory."""

from __future__ import annotations

import errno
import os
import platform
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pet.errors import PetError

LOCK = ".lock"

_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}


class FolderLock:
    """An exclusive lock on a folder, held through an open file in it.

    The operating system releases it when the process ends for any reason, so a dead process never
    blocks others. It works on Linux, macOS and Windows, and on network file systems that pass locks
    on to the server (NFS 4, SMB, Lustre with ``flock``). Where locks are kept on each machine (NFS with
    ``local_lock``), it only stops processes on the same machine. On file systems without locks, `supported`
    is False.

    The lock file is not deleted: otherwise two processes could lock two different files of the same
    name. The process id and the machine of the holder are noted in it.

    Parameters
    ----------
    folder : Path
        An existing folder.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.supported = True
        self._lock: FileLock | None = None
        self._process = 0

    def acquire(self) -> None:
        """Acquire the lock.

        Sets ``supported`` to False if the file system has no locks.

        Raises
        ------
        PetError
            If another process holds the lock; the message has its process id. Also if the lock file is
            something else that must not be written to, such as a link.
        OSError
            If the lock file cannot be created.
        """
        path = self.folder / LOCK
        _refuse_links(path)
        lock = FileLock(
            path,
            timeout=0,
            thread_local=False,
            fallback_to_soft=False,
            preserve_lock_file=True,
            on_acquired=_write_holder,
        )
        try:
            lock.acquire()
        except Timeout:
            raise PetError(_in_use(self.folder)) from None
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            self.supported = False
            return
        self._lock, self._process = lock, os.getpid()

    def release(self) -> None:
        """Release the lock, if this process holds it."""
        lock, self._lock = self._lock, None
        if lock is not None and self._process == os.getpid():  # a forked worker does not have its parent's locks
            lock.release(force=True)


@contextmanager
def locked(path: Path, patience: float = 10.0) -> Iterator[None]:
    """Hold an exclusive lock through a lock file, for the moment in which a shared file is changed.

    Parameters
    ----------
    path : the lock file; it is created, and not deleted
    patience : seconds to wait for another process

    Raises
    ------
    PetError
        If another process holds the lock for longer, or the lock file is a link.
    """
    _refuse_links(path)
    lock = FileLock(path, timeout=patience, fallback_to_soft=False, preserve_lock_file=True)
    try:
        lock.acquire()
    except Timeout:
        raise PetError(f"{path}: another process holds this lock; wait until it ends, or stop it") from None
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    try:
        yield
    finally:
        lock.release()


def holder_of(folder: Path) -> tuple[int, str] | None:
    """Return the process id and machine noted in a folder's lock file, or None. The process may have ended."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with suppress(OSError, ValueError):
        descriptor = os.open(folder / LOCK, flags)
        try:
            os.lseek(descriptor, 1, os.SEEK_SET)  # Windows locks the first byte
            process, machine = os.read(descriptor, 300).decode("utf-8", "replace").split()[:2]
            return int(process), machine
        finally:
            os.close(descriptor)
    return None


def this_machine() -> str:
    """Return the name of this machine in lock files."""
    return "-".join(platform.node().split()) or "unknown"


def _write_holder(descriptor: int) -> None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, f" {os.getpid()} {this_machine()}\n".encode())


def _refuse_links(path: Path) -> None:
    """Refuse a lock file that is a link or a pipe: the process id would be written to something else."""
    try:
        about = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(about.st_mode):
        raise PetError(f"{path}: is a link or a device, not a lock file; delete it")
    if about.st_nlink > 1:
        raise PetError(f"{path}: the file also has other names (hard links), and locking would change it; delete it")


def _in_use(folder: Path) -> str:
    holder = holder_of(folder)
    who = f"process {holder[0]}" if holder else "another process"
    where = f" on {holder[1]}" if holder and holder[1] != this_machine() else ""
    return f"{folder} is in use by {who}{where}; wait until it ends, or choose another folder"
