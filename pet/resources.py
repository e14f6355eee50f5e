"""Locations of the files shipped with the package: task files, sample data, the embedded model.

They are inside the package in a wheel, and next to it in a source checkout.
"""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
CACHE = "PET_CACHE"  # environment variable
_INSTALLED_AS = {"patterns": "patterns", "data": "samples", "models": "models"}


def folder(kind: str) -> Path:
    """Return the folder of one kind of shipped files: ``"patterns"``, ``"data"`` or ``"models"``."""
    installed = _PACKAGE / _INSTALLED_AS[kind]
    return installed if installed.is_dir() else _PACKAGE.parent / kind


def expand(path: str | os.PathLike[str]) -> Path:
    """Return a path with ``~`` replaced by the home directory; a name such as ``~x`` stays if there is no such user.

    `pathlib.Path.expanduser` ends in a RuntimeError instead.

    Examples
    --------
    >>> expand("~nobody-of-this-name/x").as_posix()
    '~nobody-of-this-name/x'
    """
    return Path(os.path.expanduser(path))


def cache_folder() -> Path:
    """Return the folder for what can be made again: ``$PET_CACHE``, or else ``pet`` in the user's cache folder."""
    own = os.environ.get(CACHE)
    return expand(own) if own else expand(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "pet"
