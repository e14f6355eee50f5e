"""The member kind `untrained`: a pattern on the pretrained language model, with or without priming."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pet.cloze.pvp import PVP
from pet.ensemble.scale import Scale
from pet.members.pattern import pattern_notes, position_of
from pet.members.scoring import score_rows
from pet.members.seam import Array, MemberData, OnRows, OnStep, Report, ignore
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
