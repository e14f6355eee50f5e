"""Layer-wise freezing: the embeddings and the first layers stay as they were pretrained.

Training the upper layers alone keeps most of the accuracy of an encoder (Lee et al. 2019, arXiv 1911.03090). What is
frozen needs no gradient, no state of the optimizer and no backward pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from pet.errors import PetError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def freeze(model: PreTrainedModel, layers: int) -> None:
    """Take the embeddings and the first layers out of training.

    An output layer that is tied to the embeddings stays with them. What all layers share, as DeBERTa's embeddings
    of relative positions, goes on learning.

    Parameters
    ----------
    model : something of which learns
    layers : how many, counted from the embeddings; 0 freezes nothing

    Raises
    ------
    PetError
        If no layer would be left to learn, or all layers are one.
    """
    if not layers:
        return
    stack = _layers(model)
    if layers >= len(stack):
        raise PetError(
            f"freeze_layers is {layers}: this {model.config.model_type} model has {len(stack)} layers, and one at "
            f"least must learn; give a number below {len(stack)}"
        )
    learning = {id(parameter) for parameter in stack[layers].parameters()}
    for parameter in model.base_model.parameters():  # in the order in which a text goes through them
        if id(parameter) in learning:
            break
        parameter.requires_grad = False


def _layers(model: PreTrainedModel) -> nn.ModuleList:
    """The list of a model's layers, whatever its family calls it."""
    count = model.config.num_hidden_layers
    for module in model.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise PetError(
        f"freeze_layers: a {model.config.model_type} model uses one layer again and again, so that none can be frozen "
        "alone; leave it out"
    )
