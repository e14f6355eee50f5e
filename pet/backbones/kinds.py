"""Which kind of language model a model is: the one place that decides."""

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
from pet.backbones.load import load_causal_lm, load_config, load_encoder_decoder, load_masked_lm
from pet.backbones.masked import MaskedLM
from pet.cloze.blank import Blank, end_blank, mask_blank, sentinel_blank
from pet.errors import PetError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Kind:
    """A kind of language model.

    Attributes
    ----------
    open : name of a model -> the model, with ``allow_pickle``
    wrap : the model -> what scores words with it
    blank : its tokenizer -> what stands for ``{mask}``
    """

    open: Callable[..., PreTrainedModel]
    wrap: Callable[[PreTrainedModel], LanguageModel]
    blank: Callable[[PreTrainedTokenizerBase], Blank]


_MASKED = Kind(load_masked_lm, MaskedLM, mask_blank)
_ENCODER_DECODER = Kind(load_encoder_decoder, EncoderDecoderLM, sentinel_blank)
_PERMUTED = Kind(load_causal_lm, MaskedLM, mask_blank)  # transformers lists it as causal, and it has a mask token
_CAUSAL = Kind(load_causal_lm, CausalLM, lambda _: end_blank())

# Causal models that read padding as text: what they say of a text would change with those beside it.
_NO_PADDING = ("rwkv", "xlstm")


def kind_of(config: Any) -> Kind:
    """The kind of a model, from its configuration.

    What can be a masked language model is one: BERT and its kin can also be made into decoders.

    Raises
    ------
    PetError
        If it is no kind of language model that is known here.
    """
    model_type = str(config.model_type)
    if model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return _MASKED
    if model_type in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES and config.is_encoder_decoder:
        return _ENCODER_DECODER
    if model_type in _NO_PADDING:
        raise PetError(
            f"model {config.name_or_path}: a model of type {model_type!r} takes padding for text, and texts of "
            "different lengths are read together here; use another causal model (GPT-2, Llama, Qwen, Mamba, ...)"
        )
    if model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return _PERMUTED if model_type in xlnet.TYPES else _CAUSAL
    raise PetError(
        f"model {config.name_or_path}: a model of type {model_type!r} can fill no blank here; use a masked language "
        "model (BERT, RoBERTa, ...), T5 or mT5, or a causal one (GPT-2, Llama, Qwen, ...)"
    )


def open_model(name: str, *, allow_pickle: bool = False) -> PreTrainedModel:
    """The language model of a folder, an embedded model or a hub name, with the weights that it was trained with."""
    return kind_of(load_config(name)).open(name, allow_pickle=allow_pickle)


def language_model(model: PreTrainedModel) -> LanguageModel:
    """A model as what scores words."""
    return kind_of(model.config).wrap(model)


def blank_of(name: str, tokenizer: PreTrainedTokenizerBase) -> Blank:
    """What stands for ``{mask}`` with a model's tokenizer.

    Raises
    ------
    PetError
        If the model cannot be opened, or its tokenizer has nothing to stand for it.
    """
    return kind_of(load_config(name)).blank(tokenizer)


def binding_options(model: str, tokenizer: PreTrainedTokenizerBase, mean_of_tokens: bool) -> dict[str, Any]:
    """How patterns are bound for a kind of model: options of `bind_patterns`.

    Raises
    ------
    PetError
        If the model has nothing that could stand for the mask.
    """
    return {"blank": blank_of(model, tokenizer), "mean_of_tokens": mean_of_tokens}
