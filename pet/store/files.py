"""Atomic file writes, and hashes."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pet.errors import PetError

TEMPORARY = ".tmp-"

_FULL = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_WRONG_PLACE = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ENOENT, errno.ELOOP}
# Libraries written in Rust or C++ (safetensors, tokenizers, pyarrow) report a full disk as text.
_FULL_AS_TEXT = ("No space left on device", "os error 28", "errno 28", "Disk quota exceeded")


def disk_problem(error: BaseException, doing: str) -> str | None:
    """Return a message if a full or unwritable disk caused the error, else None.

    Parameters
    ----------
    error : BaseException
        The error.
    doing : str
        What was being done, for the message ("write g0/labels in runs/news").
    """
    if isinstance(error, OSError) and error.errno in _FORBIDDEN:
        return f"cannot {doing}: {_reason(error)}; choose a folder where you have write permission"
    link: BaseException | None = error
    while link is not None:  # a library may have wrapped the original error in its own
        full = isinstance(link, OSError) and link.errno in _FULL
        if full or (isinstance(link, Exception) and any(sign in str(link) for sign in _FULL_AS_TEXT)):
            return f"cannot {doing}: the disk is full; free some space and run again, completed work is kept"
        link = link.__cause__ or link.__context__
    return None


def path_problem(error: OSError, doing: str) -> str | None:
    """Like `disk_problem`, but also covers paths that cannot exist, for example because the parent is a file."""
    if error.errno in _WRONG_PLACE:
        return f"cannot {doing}: {_reason(error)}; choose another path"
    return disk_problem(error, doing)


def _reason(error: OSError) -> str:
    return f"{os.strerror(error.errno or 0)} ({error.filename})" if error.filename else str(error)


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


def sync_tree(folder: Path) -> None:
    """Flush everything in a folder to disk, the folder itself last."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync_file(Path(parent, name))
        sync_folder(Path(parent))


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


def remove(path: Path) -> None:
    """Remove a file, a link or a folder tree, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_quietly(path: Path) -> None:
    """Like `remove`, but ignore errors: cleanup must not hide the error that made it necessary."""
    with suppress(OSError):
        remove(path)


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file atomically: it gets its name only if the block succeeds.

    Yields
    ------
    Path
        Temporary path next to ``path`` to write to. For a device or a pipe, such as
        ``/dev/stdout``, it is ``path`` itself.

    Raises
    ------
    PetError
        If the disk is full or not writable, or ``path`` is a folder.
    """
    target = Path(os.path.realpath(path))  # a symbolic link keeps pointing to the replaced file
    doing = f"write {os.fspath(path)}"
    if target.is_dir():
        raise PetError(f"cannot {doing}: it is a folder; give a file name")
    if not target.parent.is_dir():
        raise PetError(f"cannot {doing}: folder {target.parent} does not exist; create it first")
    if target.exists() and not target.is_file():
        yield target
        return
    temporary = target.with_name(f"{TEMPORARY}{os.getpid()}-{target.name[-40:]}")
    try:
        try:
            yield temporary
            sync_file(temporary)
            os.replace(temporary, target)
            sync_folder(target.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        # Only errors about this file: a file that is missing elsewhere is someone else's problem.
        about_us = error.filename is None or Path(error.filename) in (temporary, target.parent)
        message = path_problem(error, doing) if about_us else disk_problem(error, doing)
        if message is None:
            raise
        raise PetError(message) from error
    except Exception as error:
        message = None if isinstance(error, PetError) else disk_problem(error, doing)
        if message is None:
            raise
        raise PetError(message) from error


def write_atomically(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a small file atomically; text is encoded as UTF-8. Raises the same errors as `writing`."""
    with writing(path) as place, open(place, "wb") as stream:
        stream.write(content.encode("utf-8") if isinstance(content, str) else content)


def hash_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's content, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def hash_inputs(inputs: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a mapping of plain values, independent of key order.

    Raises
    ------
    TypeError
        For values that JSON cannot represent (NumPy numbers and paths are accepted).
    ValueError
        For NaN or infinity.

    Examples
    --------
    >>> hash_inputs({"a": 1, "b": 2}) == hash_inputs({"b": 2, "a": 1})
    True
    """
    text = json.dumps(plain(inputs), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def plain(value: Any, *, finite: bool = False) -> Any:
    """Convert a value to JSON types: tuples become lists, NumPy numbers and arrays become Python ones.

    Parameters
    ----------
    value : Any
    finite : bool
        Replace NaN and infinity by None, because JSON cannot represent them.

    Raises
    ------
    TypeError
        For values that JSON cannot represent.

    Examples
    --------
    >>> plain({"shares": (0.5, float("nan"))}, finite=True)
    {'shares': [0.5, None]}
    """
    if value is None or isinstance(value, (bool, str)):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return None if finite and not math.isfinite(value) else float(value)
    if isinstance(value, Mapping):
        return {_key(key): plain(item, finite=finite) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, finite=finite) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return plain(value.tolist(), finite=finite)
    raise TypeError(f"{value!r} of type {type(value).__name__} cannot be written as JSON")


def _key(key: Any) -> str:
    if isinstance(key, str):
        return str(key)
    if isinstance(key, int) and not isinstance(key, bool):
        return str(key)
    raise TypeError(f"{key!r} cannot be a JSON key; use a string")
