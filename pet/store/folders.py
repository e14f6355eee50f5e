"""Create, flush and remove files and folders."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from contextlib import suppress
from pathlib import Path

TEMPORARY = ".tmp-"


def sync_file(path: Path) -> None:
    """Flush the content of a file to disk."""
    # Windows flushes only through a writable handle; elsewhere the file may be read-only.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Flush the names in a folder to disk (does nothing on Windows, which has no such call)."""
    if os.name == "nt":
        return
    try:
        sync_file(path)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems can only sync files
            raise


def settle_tree(folder: Path) -> None:
    """Give all files in a new folder the mode that the umask asks for, and flush everything to disk."""
    mode = new_file_mode(folder)
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            settle_file(Path(parent, name), mode)
        sync_folder(Path(parent))


def settle_file(path: Path, mode: int) -> None:
    """Give a new file a mode, and flush it to disk."""
    # safetensors and others create files that only their owner can read.
    if os.name != "nt" and stat.S_IMODE(os.lstat(path).st_mode) != mode:
        os.chmod(path, mode)
    sync_file(path)


def new_file_mode(folder: Path) -> int:
    """Return the mode of new files in a folder, which the umask and the folder's access list decide.

    Unlike asking for the umask, this does not change it for a moment in other threads.
    """
    path = folder / f"{TEMPORARY}{secrets.token_hex(8)}-mode"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)
        os.unlink(path)


def reserve(path: Path) -> None:
    """Allocate disk space for a sparse file, such as a new memory map.

    Writing to a memory map on a full disk kills the process with a signal; allocating the space
    first raises an error instead. Does nothing if the system does not support it.

    Raises
    ------
    OSError
        If there is not enough space.
    """
    size = path.stat().st_size
    if size == 0 or not hasattr(os, "posix_fallocate"):
        return
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENODEV):
            raise
    finally:
        os.close(descriptor)


def make_folders(path: Path) -> None:
    """Create a folder and its missing parents, and flush them to disk."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        if path == path.parent:
            break
        path = path.parent
    for folder in reversed(missing):
        try:
            os.mkdir(folder)
        except FileExistsError:
            if not folder.is_dir():  # otherwise another process created it at the same time
                raise
        sync_folder(folder.parent)


def remove_temporaries(folder: Path) -> None:
    """Remove all temporary files in a folder and below; call it only if no other process can be writing there."""
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if name.startswith(TEMPORARY):
                remove(Path(parent, name))
        folders[:] = [name for name in folders if not name.startswith(TEMPORARY)]


def remove(path: Path) -> None:
    """Remove a file, a folder tree or a link, if it exists. What a link points to is left alone."""
    if path.is_dir() and not path.is_symlink():
        try:
            os.rmdir(path)  # empty; works even if no more files can be opened
        except OSError:
            shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_quietly(path: Path) -> None:
    """Like `remove`, but ignore errors: cleanup must not hide the error that made it necessary."""
    with suppress(OSError):
        remove(path)
