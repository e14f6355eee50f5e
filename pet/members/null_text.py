"""Texts without content. What a model says about them is its bias toward some labels (arXiv 2102.09690)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datasets import Dataset

from pet.members.texts import Texts

if TYPE_CHECKING:
    from pet.members.shared import Shared

NULL_TEXTS = ("", "N/A", "...")


def null_texts(shared: Shared) -> Texts:
    """Return a table whose fields are all one of `NULL_TEXTS`."""
    columns = {field: list(NULL_TEXTS) for field in shared.task.fields}
    return Texts(Dataset.from_dict({"id": list(map(str, range(len(NULL_TEXTS))))} | columns), lambda: shared.plan)
