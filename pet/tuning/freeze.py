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

_LAST = "final_layer_norm"  # OPT has it before the layers


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
    stacks = _stacks(model)
    count = len(stacks[0])
    if layers >= count:
        raise PetError(
            f"freeze_layers is {layers}: this {model.config.model_type} model has {count} layers, and at least "
            f"one must be trained; use a number below {count}"
        )
    learning = {id(parameter) for stack in stacks for layer in stack[layers:] for parameter in layer.parameters()}
    begun = False
    for name, parameter in model.base_model.named_parameters():  # mostly in the order of the forward pass
        begun = begun or id(parameter) in learning
        if not (begun or _LAST in name):
            parameter.requires_grad = False
    for stack in stacks:
        for layer in stack[:layers]:
            layer.requires_grad_(False)


def _stacks(model: PreTrainedModel) -> list[nn.ModuleList]:
    """Return the list of a model's layers, whatever its name is; several if it lists the parts of layers."""
    count = model.config.num_hidden_layers
    for module in model.base_model.modules():
        lists = [part for part in module.children() if isinstance(part, nn.ModuleList) and len(part) == count]
        if lists:
            return lists
    raise PetError(
        f"freeze_layers: all layers of a {model.config.model_type} model share their weights, so none can be frozen "
        "alone; leave freeze_layers out"
    )
