"""What is known about a model without its weights: configuration, tokenizer, shapes, hash."""

from __future__ import annotations

from copy import deepcopy
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pet.backbones.base import LanguageModel
from pet.backbones.kinds import ModelKind, kind_of
from pet.backbones.load import check_model, empty_model, load_config, load_tokenizer, model_fingerprint
from pet.backbones.place import resolve_model
from pet.cloze.blank import Blank

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class ModelInfo:
    """Everything that can be known about a model without its weights. Each part is read once, on first use.

    Parameters
    ----------
    name : folder, embedded model, or hub name
    allow_pickle : whether `open` may load pickled weights

    Raises
    ------
    PetError
        On access to an attribute, if the part that it reads is missing or damaged.
    """

    def __init__(self, name: str, *, allow_pickle: bool = False):
        self.name = name
        self.allow_pickle = allow_pickle

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("kind", "meta")}

    def check(self) -> None:
        """Read all but the weights, so that their mistakes are found before anything is written."""
        check_model(self.name, allow_pickle=self.allow_pickle)
        self.tokenizer = load_tokenizer(self.name, self.config)

    @cached_property
    def path(self) -> str:
        """Its path or hub name, for ``from_pretrained``."""
        return resolve_model(self.name)

    @cached_property
    def config(self) -> Any:
        """The configuration."""
        return load_config(self.name)

    @cached_property
    def kind(self) -> ModelKind:
        """The kind of language model."""
        return kind_of(self.config)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer."""
        return load_tokenizer(self.name, self.config)

    @cached_property
    def blank(self) -> Blank:
        """How its tokenizer represents ``{mask}``."""
        return self.kind.blank(self.tokenizer)

    @cached_property
    def meta(self) -> PreTrainedModel:
        """The encoder without weights. It has no head, because a student need not be a masked language model."""
        return empty_model(self.name, self.config)

    @cached_property
    def parameters(self) -> int:
        """Number of parameters of the encoder."""
        return sum(p.numel() for p in self.meta.parameters())

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, configuration and tokenizer, or the commit of a hub model."""
        return model_fingerprint(self.name)

    def open(self) -> LanguageModel:
        """Load a new copy of the language model."""
        model = self.kind.open(self.name, allow_pickle=self.allow_pickle, config=deepcopy(self.config))
        return self.kind.wrap(model)
