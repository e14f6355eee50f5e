"""Where the files that come with the package lie: task files, sample data, the embedded model.

In a wheel they are inside the package; in a source checkout they stand beside it.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED_AS = {"patterns": "patterns", "data": "samples", "models": "models"}


def folder(kind: str) -> Path:
    """The folder of shipped files of one kind: ``"patterns"``, ``"data"`` or ``"models"``."""
    installed = _PACKAGE / _INSTALLED_AS[kind]
    return installed if installed.is_dir() else _PACKAGE.parent / kind
