"""The member kind `untrained`: a pattern on the pretrained language model, with or without priming."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pet.backbones.masks import plan_masks
from pet.cloze.pvp import PVP
from pet.ensemble.scale import Scale
from pet.members.null_text import NULL_TEXTS, null_texts
from pet.members.pattern import pattern_notes, position_of
from pet.members.scoring import score_rows
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
        """See `pet.members.seam.Scorer.scores`.

        Masked language models prefer words of fewer tokens. So if the numbers of tokens differ, the scores are relative
        to those of texts without content. So are the scores of labels that do not exclude each other.
        """
        self._score(texts, out, on_rows)
        mixed = self.pvp.encoder.blank.repeated and len(plan_masks(self.pvp.before).sizes) > 1
        if mixed or self.shared.task.multi_label:
            null = np.empty((len(NULL_TEXTS), out.shape[1]), dtype=np.float32)
            self._score(null_texts(self.shared), null, ignore)
            out -= null.mean(axis=0)

    def _score(self, texts: Texts, out: Array, on_rows: OnRows) -> None:
        score_rows(
            self.shared.models.untrained(),
            self.shared.tokenizer,
            self.pvp,
            texts.tokens,
            self.shared.accelerator,
            max_tokens=self.shared.recipe.inference.tokens,
            out=out,
            on_rows=on_rows,
        )


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
