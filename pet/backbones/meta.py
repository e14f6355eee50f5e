"""Meta models: a model's shapes from its configuration, without weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import transformers

from pet.backbones.load import load_config, load_problem

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def meta_model(name: str) -> PreTrainedModel:
    """Create the encoder of a model on the meta device, from its configuration alone.

    It has no head, because a student need not be a masked language model.

    Raises
    ------
    PetError
        If the configuration cannot be loaded.
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
    """Return the number of parameters of a model's encoder, from its configuration alone."""
    return sum(p.numel() for p in meta_model(name).parameters())
