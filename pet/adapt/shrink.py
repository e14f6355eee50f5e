"""Make a checkpoint smaller before it is trained: fewer layers, narrower layers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from pet.errors import PetError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

State = dict[str, torch.Tensor]

_LAYER = re.compile(r"^(.*\blayers?)\.(\d+)\.(.+)$")
# (layer into the feed-forward units, layer out of them)
_FEED_FORWARD = ((".intermediate.dense.", ".output.dense."), (".ffn.lin1.", ".ffn.lin2."))


def rebuild(model: PreTrainedModel, config: Any, state: State) -> PreTrainedModel:
    """Return a model of the same class with another configuration and these weights."""
    fresh = type(model)(config)
    fresh.load_state_dict(state)
    fresh.tie_weights()
    return fresh


def keep_layers(model: PreTrainedModel, layers: Sequence[int]) -> PreTrainedModel:
    """Keep only the given layers, counted from 0, in the given order.

    Raises
    ------
    PetError
        If a layer does not exist, or the architecture shares or alternates its layers.
    """
    total = model.config.num_hidden_layers
    wrong = [i for i in layers if not 0 <= i < total]
    if wrong or not layers or len(set(layers)) != len(layers):
        raise PetError(
            f"--keep-layers {','.join(map(str, layers))}: this model has layers 0 to {total - 1}; "
            "name each at most once"
        )
    state: State = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict().items():
        match = _LAYER.match(name)
        if match is None:
            state[name] = tensor
            continue
        seen.add(int(match[2]))
        if int(match[2]) in layers:
            state[f"{match[1]}.{list(layers).index(int(match[2]))}.{match[3]}"] = tensor
    # ModernBERT: transformers 5 lists the type of each layer, version 4 has a period.
    alternate = any(getattr(model.config, field, None) for field in ("layer_types", "global_attn_every_n_layers"))
    if seen != set(range(total)) or alternate:
        raise PetError(
            f"--keep-layers: a {model.config.model_type} model shares or alternates its layers; leave the option out"
        )
    config = copy_config(model)
    config.num_hidden_layers = len(layers)
    return rebuild(model, config, state)


def narrow(model: PreTrainedModel, units: int) -> PreTrainedModel:
    """Keep only the `units` strongest feed-forward units of each layer.

    The strength of a unit is the product of the norms of its input and output weights, a bound on what it adds for an
    input of norm 1.

    Raises
    ------
    PetError
        If the layers are not BERT-like, or `units` is not smaller than their width.
    """
    state: State = dict(model.state_dict())
    before: set[int] = set()
    for name in [name for name in state if name.endswith(".weight")]:
        for inward, outward in _FEED_FORWARD:
            if f"{inward}weight" not in name:
                continue
            out = name.replace(inward, outward)
            before.add(state[name].shape[0])
            if units >= state[name].shape[0]:
                break
            strength = state[name].norm(dim=1) * state[out].norm(dim=0)
            best = strength.topk(units).indices.sort().values
            state[name.replace("weight", "bias")] = state[name.replace("weight", "bias")][best].clone()
            state[out] = state[out][:, best].clone()
            state[name] = state[name][best].clone()
    if len(before) != 1:
        raise PetError(
            f"--feed-forward: a {model.config.model_type} model has other feed-forward layers; leave the option out"
        )
    (width,) = before
    if not 1 <= units < width:
        raise PetError(f"--feed-forward {units}: this model has {width}; choose a smaller number, at least 1")
    config = copy_config(model)
    field = "intermediate_size" if hasattr(config, "intermediate_size") else "hidden_dim"
    setattr(config, field, units)
    return rebuild(model, config, state)


def copy_config(model: PreTrainedModel) -> Any:
    """Return a copy of a model's configuration."""
    return type(model.config).from_dict(model.config.to_dict())
