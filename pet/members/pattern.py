"""The member kind `pattern`: a language model tuned with a pattern on labeled texts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from pet.backbones.base import LanguageModel
from pet.backbones.learned import LearnedVerbalizer
from pet.cloze.pvp import PVP
from pet.cloze.tokens import join_rows
from pet.compat import save_model
from pet.ensemble.scale import Scale
from pet.errors import PetError
from pet.members.null_text import score_texts, text_mass
from pet.members.offset import FILE as OFFSET
from pet.members.offset import read_offset, save_offset, start_offset
from pet.members.seam import Array, MemberData, OnRows, OnStep, Report, ignore
from pet.members.shared import Shared
from pet.members.spec import MemberSpec
from pet.members.texts import Texts
from pet.members.training import ClozeData, asked_data, train_member
from pet.members.verbalizers import FILE, read_arrays, read_head, save_head, start_head, verbalizer_of
from pet.training.settings import WORDS
from pet.tuning.members import learned_in, save_member, start_member

KIND = "pattern"


@dataclass
class PatternMember:
    """One repetition of a pattern, with any tuning method.

    Attributes
    ----------
    spec : pattern and repetition
    shared : what all members share
    seed : random seed of batches, masking, and dropout
    start : folder of a trained member to continue training from; default: the pretrained model
    folder : folder of the trained member; None before `fit`
    scale : scale of the scores
    offset : what is subtracted from the scores, once it is known; see `pet.members.offset`
    learned : arrays of the learned verbalizer, once `load` has read them
    """

    spec: MemberSpec
    shared: Shared
    seed: int = 0
    start: Path | None = None
    folder: Path | None = None
    scale: Scale = Scale.LOGITS
    offset: Array | None = None
    learned: dict[str, Tensor] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def pvp(self) -> PVP:
        """The pattern, bound to the tokenizer."""
        return self.shared.tuned_pvps[position_of(self.spec, self.shared)]

    def fit(self, data: MemberData, folder: Path, on_step: OnStep = ignore) -> Report:
        """Train the member and save it: a ``save_pretrained`` folder, or only the parameters that were learned.

        With `Shared.group`, the other processes must fit the same member at the same time.
        """
        shared, recipe = self.shared, self.shared.recipe
        shared.models.release()
        tokens = join_rows([(texts.tokens, rows) for texts, rows in data.parts])
        pool = None if data.pool is None else data.pool.tokens
        cloze = ClozeData(tokens, data.labels, pool, independent=shared.task.multi_label)
        if self.pvp.names is not None:
            cloze = asked_data(cloze, self.pvp.names)
        backbone = shared.models.backbone(self.start)
        tables = [table for table in (cloze.labeled, cloze.unlabeled) if table is not None]
        before = shared.initial if self.start is None else learned_in(self.start)
        lm = start_member(backbone, recipe.tuning, self.pvp, tables, self.seed, shared.accelerator.device, before)
        kind, pvp = verbalizer_of(shared, self.spec), self.pvp
        if kind != WORDS:
            head = self._head(lm, kind, cloze)
            lm, pvp = head, head.bind(pvp)
        cloze = replace(cloze, offset=start_offset(lm, pvp, shared, cloze, self.start))
        self.offset = np.zeros(len(shared.task.labels), np.float32) if cloze.offset is None else cloze.offset
        save_offset(folder, self.offset)
        trained = sum(parameter.numel() for parameter in lm.parameters() if parameter.requires_grad)
        losses = train_member(lm, pvp, cloze, recipe, self.seed, shared.accelerator, on_step, shared.group)
        if shared.group is not None and not shared.group.is_main:
            return Report(len(data.labels), losses, trained)  # only the main process saves
        save_member(backbone, recipe.tuning, folder)
        if recipe.tuning.trains_backbone:
            save_model(lm.model, folder)
            shared.tokenizer.save_pretrained(folder)
        if isinstance(lm, LearnedVerbalizer):
            save_head(lm, folder)
        self.folder, self.learned = folder, None
        return Report(len(data.labels), losses, trained, pattern_notes(self.shared, self.spec))

    def _head(self, lm: LanguageModel, kind: str, cloze: ClozeData) -> LearnedVerbalizer:
        """Return the learned verbalizer to train: that of the member to continue from, or a new one."""
        if self.start is not None and (self.start / FILE).is_file():
            return read_head(lm, kind, self.start, self.pvp)
        return start_head(lm, self.shared, self.pvp, kind, (cloze.labeled, cloze.labels), self.seed)

    def load(self) -> None:
        """See `pet.members.seam.Scorer.load`."""
        if self.folder is not None:
            self.shared.bind_tuned()
            self.shared.models.member(self.folder)
            self.offset = self.label_offset()
            if verbalizer_of(self.shared, self.spec) != WORDS:
                self.learned = read_arrays(self.folder)

    def scores(self, texts: Texts, out: Array, on_rows: OnRows = ignore) -> None:
        """See `pet.members.seam.Scorer.scores`."""
        if self.folder is None:
            raise ValueError(f"member {self.name} must be fitted before it scores")
        lm, pvp = self.shared.models.member(self.folder), self.pvp
        kind = verbalizer_of(self.shared, self.spec)
        if kind != WORDS:
            head = read_head(lm, kind, self.folder, pvp, self.learned)
            lm, pvp = head, head.bind(pvp)
        score_texts(self.shared, lm, pvp, texts, out, on_rows, offset=self.label_offset())

    def label_offset(self) -> Array | None:
        """Return what is subtracted from the scores; members of older versions have it only for several labels.

        Raises
        ------
        PetError
            If the file is damaged, or the folder is gone.
        """
        if self.offset is not None or self.folder is None:
            return self.offset
        if not self.folder.is_dir():  # without an offset, the scores would be others
            raise PetError(f"{self.folder}: folder not found, and the member's files are read from it; restore it")
        if not (self.shared.task.multi_label or (self.folder / OFFSET).is_file()):
            return None
        return read_offset(self.folder, len(self.shared.task.labels))

    def mass(self, texts: Texts) -> Array:
        """Return `pet.members.null_text.text_mass` of each text."""
        if self.folder is None:
            raise ValueError(f"member {self.name} must be fitted before it scores")
        return text_mass(self.shared, self.shared.models.member(self.folder), self.pvp, texts)


def position_of(spec: MemberSpec, shared: Shared) -> int:
    """Return the position of a member's pattern in the task.

    Raises
    ------
    PetError
        If the task does not have this pattern, as after its file was edited by hand.
    """
    position, count = spec.pattern, len(shared.task.patterns)
    if position is None or not 0 <= position < count:
        raise PetError(f"member {spec.name}: the task has patterns 1 to {count}, and this member names none of them")
    return position


def pattern_notes(shared: Shared, spec: MemberSpec) -> dict[str, Any]:
    """Return the pattern and its verbalizer, for people who read ``member.json``."""
    pattern = shared.task.patterns[position_of(spec, shared)]
    words = {label: list(words) for label, words in pattern.verbalizer.words.items()}
    return {"pattern": pattern.template.source, "verbalizer": words}
