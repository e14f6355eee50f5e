"""The kinds of language models, and which kind a given model is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)

from pet.backbones import xlnet
from pet.backbones.base import LanguageModel
from pet.backbones.causal import CausalLM
from pet.backbones.encoder_decoder import EncoderDecoderLM
from pet.backbones.load import load_config
from pet.backbones.masked import MaskedLM
from pet.backbones.trained import load_causal_lm, load_encoder_decoder, load_masked_lm
from pet.cloze.blank import Blank, end_blank, mask_blank, sentinel_blank
from pet.errors import PetError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class ModelKind:
    """A kind of language model.

    Attributes
    ----------
    open : loads a model by name; takes ``allow_pickle`` and ``config``
    wrap : wraps the model as a LanguageModel
    blank : returns how its tokenizer represents ``{mask}``
    """

    open: Callable[..., PreTrainedModel]
    wrap: Callable[[PreTrainedModel], LanguageModel]
    blank: Callable[[PreTrainedTokenizerBase], Blank]


_MASKED = ModelKind(load_masked_lm, MaskedLM, mask_blank)
_ENCODER_DECODER = ModelKind(load_encoder_decoder, EncoderDecoderLM, sentinel_blank)
_XLNET = ModelKind(load_causal_lm, MaskedLM, mask_blank)  # listed as causal by transformers, but has a mask token
_CAUSAL = ModelKind(load_causal_lm, CausalLM, lambda _: end_blank())

# Causal models that read padding as text, so that the scores of a text would depend on its batch.
_NO_PADDING = ("rwkv", "xlstm")


def kind_of(config: Any) -> ModelKind:
    """Return the kind of a model, given its configuration.

    Architectures that can be masked language models are treated as such, even if (like BERT) they can also be
    decoders.

    Raises
    ------
    PetError
        If the model is not a supported kind of language model.
    """
    model_type = str(config.model_type)
    if model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return _MASKED
    if model_type in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES and config.is_encoder_decoder:
        return _ENCODER_DECODER
    if model_type in _NO_PADDING:
        raise PetError(
            f"model {config.name_or_path}: models of type {model_type!r} read padding as text, so texts of different "
            "lengths cannot share a batch; use another causal model (GPT-2, Llama, Qwen, Mamba, ...)"
        )
    if model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return _XLNET if model_type in xlnet.TYPES else _CAUSAL
    raise PetError(
        f"model {config.name_or_path}: models of type {model_type!r} cannot fill a mask; use a masked language "
        "model (BERT, RoBERTa, ...), T5 or mT5, or a causal language model (GPT-2, Llama, Qwen, ...)"
    )


def open_model(name: str, *, allow_pickle: bool = False) -> PreTrainedModel:
    """Load a pretrained language model from a folder, the embedded models, or the hub.

    Raises
    ------
    PetError
        If the model cannot be loaded, is not a supported kind, or has no trained head.
    """
    config = load_config(name)
    return kind_of(config).open(name, allow_pickle=allow_pickle, config=config)


def language_model(model: PreTrainedModel) -> LanguageModel:
    """Wrap a model as the `LanguageModel` of its kind."""
    return kind_of(model.config).wrap(model)
