"""The language models of members: opened on demand, and shared if the tuning method allows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pet.backbones.base import LanguageModel
from pet.backbones.info import ModelInfo
from pet.backbones.int8 import quantize_linears
from pet.backbones.kinds import language_model
from pet.backbones.masked import HiddenStates, MaskedLM, check_length
from pet.backbones.place import resolve_model
from pet.embeddings.encoder import TextEncoder, open_encoder
from pet.student.classifier import TextInput
from pet.tuning.members import Backbone, Learned, attach, learned_in, read_member

KEEP_BYTES = 4 << 30  # maximum size of all members' weights that stay in memory


@dataclass
class Models:
    """Opens models and keeps them in memory.

    Attributes
    ----------
    info : the pretrained model
    max_length : maximum input length; models with fewer positions are refused
    shared : True if members attach few parameters to one pretrained model, False if each has its own model
    named : name of the pretrained model in saved members; default: `info.name`
    quantized : True if models compute in int8
    engines : name of a model -> what computes its hidden states in place of torch; see `pet.members.engines`
    """

    info: ModelInfo
    max_length: int
    shared: bool
    named: str = ""
    quantized: bool = False
    engines: dict[str, HiddenStates] = field(default_factory=dict)
    _keep: bool = False
    _kept: dict[str, LanguageModel] = field(default_factory=dict)
    _learned: dict[str, Learned] = field(default_factory=dict)
    _backbone: Backbone | None = None
    _encoder: tuple[str, TextEncoder] | None = None

    def fresh(self, folder: Path | None = None) -> LanguageModel:
        """Open a new copy of a member's own model, or of the pretrained model."""
        if folder is not None:
            return ModelInfo(str(folder)).open()
        lm = self.info.open()
        check_length(lm.model, self.max_length, self.info.name)
        return lm

    def untrained(self) -> LanguageModel:
        """Return the pretrained model for scoring. It is opened once for all patterns."""
        if self.shared:
            backbone = self.backbone(None)
            backbone.restore()
            return language_model(backbone.model)
        return self._own(self.info.name, None)

    def member(self, folder: Path) -> LanguageModel:
        """Return the model of a trained member, ready to score."""
        if not self.shared:
            return self._own(str(folder), folder)
        if str(folder) not in self._learned:
            self._learned[str(folder)] = read_member(folder)
        return attach(self.backbone(None), self._learned[str(folder)], folder)

    def backbone(self, folder: Path | None) -> Backbone:
        """Return the model that a new member, or the one in `folder`, attaches to. Shared models are opened once."""
        if self.shared and self._backbone is not None:
            return self._backbone
        lm = self.fresh(None if self.shared else folder)
        fingerprint = self.info.fingerprint if self.shared else ""
        backbone = Backbone(lm.model, self.named or self.info.name, fingerprint)
        if self.shared:
            self._backbone = backbone
        return backbone

    def encoder(self, name: str, text_input: TextInput) -> TextEncoder:
        """Return an encoder of texts: another model, or the pretrained one as it is. The last one stays in memory."""
        name = name or self.info.name
        if self._encoder is None or self._encoder[0] != name:
            self._encoder = name, open_encoder(name, text_input, self.max_length, allow_pickle=self.info.allow_pickle)
        return self._encoder[1]

    def _own(self, name: str, folder: Path | None) -> LanguageModel:
        """Open a member's own model, or the pretrained one. Keeps the last one in memory, or all after `keep`."""
        if name not in self._kept:
            if not self._keep:
                self._kept.clear()  # free the old model first, because both may not fit into memory
            lm = self.fresh(folder)
            learned = None if folder is None else learned_in(folder)
            if learned is not None:
                lm = attach(Backbone(lm.model, name, ""), learned, name)
            if self.quantized:
                quantize_linears(lm.model, name)
            self._kept[name] = lm
            if isinstance(lm, MaskedLM):
                lm.engine = self.engines.get(name)
        return self._kept[name]

    def keep(self, folders: Iterable[Path]) -> bool:
        """Keep the models of these members in memory from now on, if they fit. Return True if they do."""
        self._keep = sum(_weight_bytes(str(folder)) for folder in {self.info.name, *folders}) <= KEEP_BYTES
        return self._keep

    def quantize(self) -> None:
        """Compute in int8 from now on; see `pet.backbones.int8`."""
        self.quantized = True
        for name, lm in self._kept.items():
            quantize_linears(lm.model, name)

    def release(self) -> None:
        """Free cached models before a member is trained."""
        if not self._keep:
            self._kept.clear()
            self._encoder = None

    def forget(self) -> None:
        """Free all models."""
        self._kept.clear()
        self.engines.clear()
        self._learned.clear()
        self._backbone = self._encoder = None

    def to_cpu(self) -> None:
        """Move the models in memory to the CPU. Scoring moves them back."""
        for lm in self._kept.values():
            lm.to("cpu")
        if self._backbone is not None:
            self._backbone.model.to("cpu")
        if self._encoder is not None:
            self._encoder[1].model.to("cpu")  # type: ignore[arg-type]


def _weight_bytes(name: str) -> int:
    folder = Path(resolve_model(name))
    if not folder.is_dir():
        return 0  # a hub name is the pretrained model, which is needed anyway
    return sum(p.stat().st_size for p in folder.iterdir() if p.suffix in (".safetensors", ".bin"))
