"""What a model looks like, from its configuration alone: shapes and no weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import transformers

from pet.backbones.load import load_config, load_problem

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def meta_model(name: str) -> PreTrainedModel:
    """The encoder of a model, from its configuration alone: shapes and no weights.

    It has no head: a student need not be a masked language model.
    """
    import torch

    config = load_config(name)
    try:
        with torch.device("meta"):
            model: PreTrainedModel = transformers.AutoModel.from_config(config)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise load_problem(name, "configuration", error) from error
    return model


def count_parameters(name: str) -> int:
    """Number of weights of a model's encoder, from its configuration alone."""
    return sum(p.numel() for p in meta_model(name).parameters())
