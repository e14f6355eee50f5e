"""The modules of a model that compute queries, keys and values, whatever their names are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn
from transformers.pytorch_utils import Conv1D

from pet.errors import PetError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# BERT and its relatives; DistilBERT; DeBERTa-v2; MPNet and T5; Llama, Qwen and most other causal models
_SPLIT = (
    ("query", "key", "value"),
    ("q_lin", "k_lin", "v_lin"),
    ("query_proj", "key_proj", "value_proj"),
    ("q", "k", "v"),
    ("q_proj", "k_proj", "v_proj"),
)
_FUSED = ("Wqkv", "c_attn")  # ModernBERT, GPT-2: one matrix for all three


@dataclass(frozen=True)
class Projections:
    """One attention module; a model may use it in several layers.

    Attributes
    ----------
    module : the attention
    linear : its query, key and value layers, or the one layer that computes all three
    names : names of `linear` within the model
    """

    module: nn.Module
    linear: tuple[nn.Module, ...]
    names: tuple[str, ...]


def find_projections(model: PreTrainedModel, method: str) -> list[Projections]:
    """Return all attention modules of a model, from the first layer on.

    Parameters
    ----------
    model : may have no weights, only shapes
    method : the tuning method that needs them, for the message

    Raises
    ------
    PetError
        If none are found.
    """
    found = []
    for name, module in model.named_modules():
        children = {key: child for key, child in module.named_children() if isinstance(child, (nn.Linear, Conv1D))}
        for names in (*_SPLIT, *((key,) for key in _FUSED)):
            if all(key in children for key in names):
                linear = tuple(children[key] for key in names)
                found.append(Projections(module, linear, tuple(f"{name}.{key}" for key in names)))
    if not found:
        cure = "name its matrices with --set lora_targets=... (or all), or " if method == "lora" else ""
        raise PetError(
            f"--tuning {method}: the attention of a {model.config.model_type} model is not supported; {cure}use "
            "--tuning prompt, bitfit or full"
        )
    return found
