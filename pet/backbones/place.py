"""Resolve names of models. This module does not import torch."""

from __future__ import annotations

from pet import resources
from pet.errors import PetError
from pet.resources import expand

DEFAULT_MODEL = "mini-en"


def resolve_model(name: str) -> str:
    """Resolve a folder, embedded model or hub name to an argument for ``from_pretrained``.

    Raises
    ------
    PetError
        If the name looks like a folder that does not exist.
    """
    if expand(name).is_dir():
        return str(expand(name))
    embedded = resources.folder("models") / name
    if "/" not in name and "\\" not in name and embedded.is_dir():
        return str(embedded)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise PetError(f"model {name}: folder not found; give a folder saved by save_pretrained, or a hub name")
    return name
