"""Load language models, which need a trained head, and models that may get a new head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

from pet.backbones.load import load_model
from pet.errors import PetError
from pet.process import seeded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PreTrainedModel


def check_classifier(name: str, config: Any) -> None:
    """Check that a model can be a student, that is, that its architecture has a sequence classifier.

    Raises
    ------
    PetError
        If the architecture has none.
    """
    kind = config.model_type
    if kind not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES:
        raise PetError(
            f"model {name}: models of type {kind!r} have no sequence classifier and cannot be a student; choose "
            "another model with --student-model"
        )


def load_masked_lm(name: str, *, allow_pickle: bool = False, config: Any = None) -> PreTrainedModel:
    """Load a masked language model with a trained head.

    Raises
    ------
    PetError
        If it is not a masked LM, or its head would be randomly initialized.
    """
    cure = "use a masked language model, or train a head for this encoder with `pet adapt`"
    return _load_trained(name, transformers.AutoModelForMaskedLM, cure, allow_pickle, config)


def load_encoder_decoder(name: str, *, allow_pickle: bool = False, config: Any = None) -> PreTrainedModel:
    """Load an encoder-decoder with a trained output layer; PetError otherwise."""
    cure = "use a model with a trained decoder and head"
    return _load_trained(name, transformers.AutoModelForSeq2SeqLM, cure, allow_pickle, config)


def load_causal_lm(name: str, *, allow_pickle: bool = False, config: Any = None) -> PreTrainedModel:
    """Load a causal language model with a trained output layer; PetError otherwise."""
    cure = "use a model with a trained head"
    return _load_trained(name, transformers.AutoModelForCausalLM, cure, allow_pickle, config)


def load_pretrainable(name: str) -> tuple[PreTrainedModel, bool]:
    """Load a masked language model for further pretraining.

    An encoder without a masked-LM head gets a new one, whose output weights are the word embeddings.

    Returns
    -------
    model : PreTrainedModel
    new_head : bool

    Raises
    ------
    PetError
        If it cannot be loaded, is not an encoder, or lacks weights other than those of the head.
    """
    with seeded(0):  # a new head is the same each time
        model, info = load_model(name, transformers.AutoModelForMaskedLM)
    random_head, random_body = _random_weights(model, info)
    _check_body(name, random_body)
    new_head = any(key.endswith("weight") for key in random_head)
    if new_head:
        model.config.tie_word_embeddings = True
        model.tie_weights()
    return model, new_head


def load_encoder(name: str, *, allow_pickle: bool = False) -> PreTrainedModel:
    """Load a model without its head, as it is; PetError if it cannot be loaded or lacks weights."""
    with seeded(0):  # weights that are missing are drawn, though nothing uses them
        model, info = load_model(name, transformers.AutoModel, allow_pickle=allow_pickle)
    _check_body(name, [key for key in sorted(map(str, info["missing_keys"])) if not _unused(key)])
    return model


def load_new_classifier(name: str, config: Any, *, allow_pickle: bool = False) -> PreTrainedModel:
    """Load a pretrained model with a new classification head.

    Raises
    ------
    PetError
        If it cannot be loaded, or lacks weights other than those of the head.
    """
    kind = transformers.AutoModelForSequenceClassification
    model, info = load_model(name, kind, config=config, allow_pickle=allow_pickle)
    _check_body(name, _random_weights(model, info)[1])
    return model


def _check_body(name: str, random_body: list[str]) -> None:
    if random_body:
        raise PetError(
            f"model {name}: the checkpoint is incomplete (no weights for {', '.join(random_body[:3])}); download it "
            "again, or give another model"
        )


def _load_trained(name: str, kind: Any, cure: str, allow_pickle: bool, config: Any) -> PreTrainedModel:
    model, info = load_model(name, kind, config=config, allow_pickle=allow_pickle)
    random_head, random_body = _random_weights(model, info)
    random = random_head + random_body
    if random:
        raise PetError(
            f"model {name}: no trained weights for {', '.join(random[:3])}"
            f"{' and more' if len(random) > 3 else ''}, so it cannot fill a mask; {cure}"
        )
    return model


def _random_weights(model: PreTrainedModel, info: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the names of the weights of head and body that were not in the checkpoint and matter."""
    missing, body = sorted(map(str, info["missing_keys"])), f"{model.base_model_prefix}."
    in_head = [key for key in missing if not key.startswith(body) and not key.endswith("bias")]
    in_body = [key for key in missing if key.startswith(body) and not _unused(key)]
    return in_head, in_body


def _unused(key: str) -> bool:
    return "pooler" in key or "position_ids" in key
