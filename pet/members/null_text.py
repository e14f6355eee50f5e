"""What members say about a text without content: their bias toward some labels (arXiv 2102.09690)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from datasets import Dataset

from pet.members import untrained
from pet.members.seam import Array, Scorer
from pet.members.shared import Shared
from pet.members.texts import Texts

NULL_TEXTS = ("", "N/A", "...")


def null_scores(scorers: Sequence[Scorer], shared: Shared) -> list[Array]:
    """Return the mean scores of each member for texts without content.

    Parameters
    ----------
    scorers : members
    shared : what they share

    Returns
    -------
    list of float32 arrays of shape (1, L). Only untrained patterns have such scores; the others are NaN.
    """
    columns = {field: list(NULL_TEXTS) for field in shared.task.fields}
    texts = Texts(Dataset.from_dict({"id": list(map(str, range(len(NULL_TEXTS))))} | columns), lambda: shared.plan)
    found = []
    for scorer in scorers:
        out = np.full((len(NULL_TEXTS), len(shared.task.labels)), np.nan, dtype=np.float32)
        if isinstance(scorer, untrained.UntrainedMember):
            scorer.scores(texts, out)
        found.append(out.mean(axis=0, keepdims=True))
    return found
