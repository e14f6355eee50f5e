"""Atomic file writes, and hashes."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pet.errors import PetError
from pet.store.disk import disk_problem, path_problem
from pet.store.folders import new_file_mode, settle_file, sync_folder
from pet.store.temporary import temporary_folder


@contextmanager
def writing(path: str | os.PathLike[str], *, follow: bool = True) -> Iterator[Path]:
    """Write a file atomically: it gets its name only if the block succeeds.

    Every file of the package is written through this function or `pet.store.outputs.writing_folder`, or is
    part of a stage.

    Parameters
    ----------
    path : the file
    follow : if it is a symbolic link, replace the file that it points to, as for outputs that the user has named;
        if False, replace the link

    Yields
    ------
    Path
        Temporary path to write to, on the same file system. With `follow`, for a device or a pipe such as
        ``/dev/stdout``, it is ``path`` itself.

    Raises
    ------
    PetError
        If the disk is full, failing or not writable, or ``path`` is a folder.
    """
    target, doing = _target(path, follow), f"write {os.fspath(path)}"
    if follow and target.exists() and not target.is_file():
        yield target
        return
    ours: list[Path] = [target.parent]
    try:
        with temporary_folder(target.parent, target.name) as folder:
            temporary = folder / target.name
            ours += [folder, temporary]
            yield temporary
            settle_file(temporary, new_file_mode(folder))
            os.replace(temporary, target)
            sync_folder(target.parent)
    except PetError:
        raise
    except Exception as error:
        # Only errors about this file: the block may fail because another file is missing.
        if isinstance(error, OSError) and (error.filename is None or _is_in(error.filename, ours)):
            message = path_problem(error, doing)
        else:
            message = disk_problem(error, doing)
        if message is None:
            raise
        raise PetError(message) from error


def _target(path: str | os.PathLike[str], follow: bool) -> Path:
    """Return the file to replace, after checking its place."""
    given, doing = Path(path), f"write {os.fspath(path)}"
    target = Path(os.path.realpath(given)) if follow else Path(os.path.realpath(given.parent), given.name)
    if target.is_dir() and not target.is_symlink():
        raise PetError(f"cannot {doing}: it is a folder; give a file name")
    if not target.parent.is_dir():
        raise PetError(f"cannot {doing}: folder {target.parent} does not exist; create it first")
    return target


def _is_in(name: Any, paths: Sequence[Path]) -> bool:
    return isinstance(name, (str, os.PathLike)) and (Path(name) in paths or Path(name).parent in paths[1:])


def write_atomically(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a small file of a run atomically; text is encoded as UTF-8. A link is replaced, never followed.

    Raises the same errors as `writing`.
    """
    with writing(path, follow=False) as place, open(place, "xb") as stream:
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
