"""Files that are there in whole or not at all, and hashes of what is in them."""

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
    """One message for a disk that is full or may not be written to; None for any other error.

    Parameters
    ----------
    error : BaseException
        What was raised.
    doing : str
        What was being done, for the message ("write g0/labels in runs/news").
    """
    if isinstance(error, OSError) and error.errno in _FORBIDDEN:
        return f"cannot {doing}: {_reason(error)}; choose a folder that you may write to"
    link: BaseException | None = error
    while link is not None:  # a library may have wrapped the full disk in an error of its own
        full = isinstance(link, OSError) and link.errno in _FULL
        if full or (isinstance(link, Exception) and any(sign in str(link) for sign in _FULL_AS_TEXT)):
            return f"cannot {doing}: the disk is full; free some space and start again, finished work is kept"
        link = link.__cause__ or link.__context__
    return None


def place_problem(error: OSError, doing: str) -> str | None:
    """Like `disk_problem`, and also for a path that cannot exist, as when its parent is a file."""
    if error.errno in _WRONG_PLACE:
        return f"cannot {doing}: {_reason(error)}; choose another place"
    return disk_problem(error, doing)


def _reason(error: OSError) -> str:
    return f"{os.strerror(error.errno or 0)} ({error.filename})" if error.filename else str(error)


def sync_file(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    # Windows flushes only through a handle that may write; elsewhere read-only files are fine too.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk (Windows has no such call)."""
    if os.name == "nt":
        return
    try:
        sync_file(path)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems sync files only
            raise


def sync_tree(folder: Path) -> None:
    """`sync_file` and `sync_folder` for everything in a folder, the folder itself last."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync_file(Path(parent, name))
        sync_folder(Path(parent))


def reserve(path: Path) -> None:
    """Take the space for a file that was made with holes, as a new memory map is.

    Writing to a memory map on a full disk kills the process with a signal; asking for the space
    first turns that into an error. Nothing happens where the system cannot do it.

    Raises
    ------
    OSError
        When there is not enough space.
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
    """Make a folder and its missing parents, each of them on the disk when this returns."""
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
            if not folder.is_dir():  # otherwise another process was as quick
                raise
        sync_folder(folder.parent)


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder; nothing happens where there is nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_quietly(path: Path) -> None:
    """`remove`, without a word where it fails: cleaning up must not hide the error that made it necessary."""
    with suppress(OSError):
        remove(path)


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A place to write a file, which takes its name only when the block ends well.

    Yields
    ------
    Path
        Where to write: beside ``path``. Where ``path`` is a device or a pipe, such as
        ``/dev/stdout``, it is ``path`` itself.

    Raises
    ------
    PetError
        When the disk is full, the place may not be written to, or ``path`` is a folder.
    """
    target = Path(os.path.realpath(path))  # a link keeps pointing to what is replaced
    doing = f"write {os.fspath(path)}"
    if target.is_dir():
        raise PetError(f"cannot {doing}: it is a folder; name a file")
    if not target.parent.is_dir():
        raise PetError(f"cannot {doing}: there is no folder {target.parent}; make it first")
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
        # Only what is about this file: a text file that is missing elsewhere is not ours to explain.
        about_us = error.filename is None or Path(error.filename) in (temporary, target.parent)
        message = place_problem(error, doing) if about_us else disk_problem(error, doing)
        if message is None:
            raise
        raise PetError(message) from error
    except Exception as error:
        message = None if isinstance(error, PetError) else disk_problem(error, doing)
        if message is None:
            raise
        raise PetError(message) from error


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a small file in whole; see `writing` for what is raised. Text becomes UTF-8."""
    with writing(path) as place, open(place, "wb") as stream:
        stream.write(content.encode("utf-8") if isinstance(content, str) else content)


def hash_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def hash_inputs(inputs: Mapping[str, Any]) -> str:
    """SHA-256 of a mapping of plain values, whatever the order of its keys.

    Raises
    ------
    TypeError
        For a value that JSON does not know (NumPy numbers and paths are accepted).
    ValueError
        For NaN or infinity, which are not equal to themselves in every reader.
    """
    text = json.dumps(plain(inputs), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def plain(value: Any, *, finite: bool = False) -> Any:
    """The same value in the types of JSON: tuples as lists, NumPy numbers and arrays as Python's.

    Parameters
    ----------
    value : Any
    finite : bool
        Put None where a number is NaN or infinite, because JSON has no word for it.

    Raises
    ------
    TypeError
        For anything else: better now than as a text that nobody can read back.
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
    raise TypeError(f"{key!r} cannot be a key: use text")
