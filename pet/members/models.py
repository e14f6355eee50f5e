"""The language models of an ensemble's members: opened when needed, shared where they can be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pet.backbones.base import LanguageModel
from pet.backbones.info import ModelInfo
from pet.backbones.int8 import quantize_linears
from pet.backbones.kinds import language_model
from pet.backbones.load import resolve_model
from pet.backbones.masked import check_length
from pet.tuning.members import Backbone, Learned, attach, learned_in, read_member

KEEP_BYTES = 4 << 30  # weights of members that may stay in memory together


@dataclass
class Models:
    """Opens and keeps models.

    Attributes
    ----------
    info : the pretrained model
    max_length : longest input; a model that cannot read it is refused
    shared : True if members are a few numbers on the pretrained model, False if each has a model of its own
    named : what saved members call the pretrained model; its name if empty
    quantized : compute in int8
    """

    info: ModelInfo
    max_length: int
    shared: bool
    named: str = ""
    quantized: bool = False
    _keep: bool = False
    _kept: dict[str, LanguageModel] = field(default_factory=dict)
    _learned: dict[str, Learned] = field(default_factory=dict)
    _backbone: Backbone | None = None

    def fresh(self, folder: Path | None = None) -> LanguageModel:
        """A new copy of a member's own model, or of the pretrained one."""
        if folder is not None:
            return ModelInfo(str(folder)).open()
        lm = self.info.open()
        check_length(lm.model, self.max_length, self.info.name)
        return lm

    def untrained(self) -> LanguageModel:
        """The pretrained model to score with; opened once for all patterns."""
        if self.shared:
            backbone = self.backbone(None)
            backbone.restore()
            return language_model(backbone.model)
        return self._own(self.info.name, None)

    def member(self, folder: Path) -> LanguageModel:
        """A trained member, ready to score."""
        if not self.shared:
            return self._own(str(folder), folder)
        if str(folder) not in self._learned:
            self._learned[str(folder)] = read_member(folder)
        return attach(self.backbone(None), self._learned[str(folder)], folder)

    def backbone(self, folder: Path | None) -> Backbone:
        """The model that a member in `folder`, or a new member, is attached to; one for all if they share it."""
        if self.shared and self._backbone is not None:
            return self._backbone
        lm = self.fresh(None if self.shared else folder)
        fingerprint = self.info.fingerprint if self.shared else ""
        backbone = Backbone(lm.model, self.named or self.info.name, fingerprint)
        if self.shared:
            self._backbone = backbone
        return backbone

    def _own(self, name: str, folder: Path | None) -> LanguageModel:
        """A model of a member's own, or the untrained one. The last one stays, and all of them with `keep`."""
        if name not in self._kept:
            if not self._keep:
                self._kept.clear()  # two models that are too large together are never in memory together
            lm = self.fresh(folder)
            learned = None if folder is None else learned_in(folder)
            if learned is not None:
                lm = attach(Backbone(lm.model, name, ""), learned, name)
            if self.quantized:
                quantize_linears(lm.model, name)
            self._kept[name] = lm
        return self._kept[name]

    def keep(self, folders: Iterable[Path]) -> bool:
        """Keep the models of members in these folders in memory from now on, if they fit."""
        self._keep = sum(_weight_bytes(str(folder)) for folder in {self.info.name, *folders}) <= KEEP_BYTES
        return self._keep

    def quantize(self) -> None:
        """Compute in int8 from now on; see `pet.backbones.int8`."""
        self.quantized = True
        for name, lm in self._kept.items():
            quantize_linears(lm.model, name)

    def release(self) -> None:
        """Let go of models that only save opening them again, before a member is trained."""
        if not self._keep:
            self._kept.clear()

    def forget(self) -> None:
        """Let go of all models."""
        self._kept.clear()
        self._learned.clear()
        self._backbone = None

    def to_cpu(self) -> None:
        """Move the models in memory to the processor; scoring moves them back."""
        for lm in self._kept.values():
            lm.to("cpu")
        if self._backbone is not None:
            self._backbone.model.to("cpu")


def _weight_bytes(name: str) -> int:
    folder = Path(resolve_model(name))
    if not folder.is_dir():
        return 0  # a hub name: one pretrained model, which is needed anyway
    return sum(p.stat().st_size for p in folder.iterdir() if p.suffix in (".safetensors", ".bin"))
