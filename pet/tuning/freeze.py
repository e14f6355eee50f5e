"""Layer freezing: the embeddings and the first layers keep their pretrained weights.

Training only the upper layers keeps most of the accuracy of an encoder (Lee et al. 2019, arXiv 1911.03090). Frozen
parameters need no gradient, no optimizer state and no backward pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from pet.errors import PetError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def freeze(model: PreTrainedModel, layers: int) -> None:
    """Freeze the embeddings and the first layers.

    An output layer tied to the embeddings is frozen with them. Parameters that all layers share, such as DeBERTa's
    embeddings of relative positions, are still trained.

    Parameters
    ----------
    model : prepared for training
    layers : number of layers to freeze, counted from the embeddings; 0 freezes nothing

    Raises
    ------
    PetError
        If no layer is left to train, or all layers share their weights.
    """
    if not layers:
        return
    stack = _layers(model)
    if layers >= len(stack):
        raise PetError(
            f"freeze_layers is {layers}: this {model.config.model_type} model has {len(stack)} layers, and at least "
            f"one must be trained; use a number below {len(stack)}"
        )
    learning = {id(parameter) for parameter in stack[layers].parameters()}
    for parameter in model.base_model.parameters():  # in the order of the forward pass
        if id(parameter) in learning:
            break
        parameter.requires_grad = False


def _layers(model: PreTrainedModel) -> nn.ModuleList:
    """Return the list of a model's layers, whatever its name is."""
    count = model.config.num_hidden_layers
    for module in model.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise PetError(
        f"freeze_layers: all layers of a {model.config.model_type} model share their weights, so none can be frozen "
        "alone; leave freeze_layers out"
    )
