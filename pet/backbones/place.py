"""Resolve names of models. This module does not import torch."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

from pet import resources
from pet.errors import Notice, PetError
from pet.resources import cache_folder, expand

DEFAULT_MODEL = "mini-en"
GGUF = ".gguf"


def resolve_model(name: str) -> str:
    """Resolve a folder, GGUF file, embedded model or hub name to an argument for ``from_pretrained``.

    A GGUF file is converted on first use; see `pet.backbones.gguf`.

    Raises
    ------
    PetError
        If the name looks like a folder that does not exist, or like a GGUF file that cannot be read.
    """
    path = expand(name)
    if path.is_dir():
        return str(path)
    if name.endswith(GGUF) and path.is_file():
        return str(_converted(path))
    embedded = resources.folder("models") / name
    if "/" not in name and "\\" not in name and embedded.is_dir():
        return str(embedded)
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or name.endswith(GGUF):
        kind = "file" if name.endswith(GGUF) else "folder"
        raise PetError(f"model {name}: {kind} not found; give a folder saved by save_pretrained, or a hub name")
    return name


def _converted(path: Path) -> Path:
    """Return the folder of a GGUF file's model, in the cache."""
    path, about = path.resolve(), path.stat()
    what = f"1 {path} {about.st_size} {about.st_mtime_ns}".encode("utf-8", "surrogateescape")
    folder = cache_folder() / "gguf" / hashlib.sha256(what).hexdigest()[:32]
    if not (folder / "config.json").is_file():
        from pet.backbones.gguf import convert

        warnings.warn(Notice(f"{path}: converted once to {folder}; this takes minutes"), stacklevel=3)
        convert(path, folder)
    return folder
