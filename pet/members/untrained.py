"""The member kind `untrained`: a pattern on the pretrained language model, with or without priming."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pet.cloze.pvp import PVP
from pet.ensemble.scale import Scale
from pet.members.null_text import NULL_TEXTS, null_texts, score_texts, text_mass
from pet.members.pattern import pattern_notes, position_of
from pet.members.seam import Array, MemberData, OnRows, OnStep, Report, Scorer, ignore
from pet.members.shared import Shared
from pet.members.spec import MemberSpec
from pet.members.texts import Texts

KIND = "untrained"


@dataclass
class UntrainedMember:
    """An untrained pattern; see `pet.members.pattern.PatternMember` for the attributes."""

    spec: MemberSpec
    shared: Shared
    scale: Scale = Scale.LOGITS
    folder: Path | None = None

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def pvp(self) -> PVP:
        """The pattern, bound to the tokenizer."""
        return self.shared.pvps[position_of(self.spec, self.shared)]

    def fit(self, data: MemberData, folder: Path, on_step: OnStep = ignore) -> Report:
        """Return a report without training anything."""
        return Report(0, notes=pattern_notes(self.shared, self.spec))

    def load(self) -> None:
        """See `pet.members.seam.Scorer.load`."""
        self.shared.bind()
        self.shared.models.untrained()

    def scores(self, texts: Texts, out: Array, on_rows: OnRows = ignore) -> None:
        """See `pet.members.seam.Scorer.scores`."""
        score_texts(self.shared, self.shared.models.untrained(), self.pvp, texts, out, on_rows, untrained=True)

    def mass(self, texts: Texts) -> Array:
        """Return `pet.members.null_text.text_mass` of each text."""
        return text_mass(self.shared, self.shared.models.untrained(), self.pvp, texts)


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
    texts, found = null_texts(shared), []
    for scorer in scorers:
        out = np.full((len(NULL_TEXTS), len(shared.task.labels)), np.nan, dtype=np.float32)
        if isinstance(scorer, UntrainedMember):
            scorer.scores(texts, out)
        found.append(out.mean(axis=0, keepdims=True))
    return found
