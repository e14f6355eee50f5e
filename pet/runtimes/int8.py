"""Static int8 for graphs: the scales of activations are measured on texts, once.

Linear layers get rounded inputs and weights, which ONNX writes as QuantizeLinear and DequantizeLinear, and engines
then multiply in int8. Outliers are in a few channels of the inputs, so each channel is multiplied by a factor that
moves most of its size into the weights: SmoothQuant (Xiao et al. 2023, equation 4). Nothing is clipped, because
encoders store what matters in their largest activations.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pet.errors import PetError
from pet.runtimes.graph import Graph, single_token_layers

STEPS = 127
ALPHA = 0.85
_TINY = 1e-8


@dataclass
class _Seen:
    """Linear layers that read the same input, and the largest magnitude of each of its channels."""

    layers: list[nn.Linear]
    largest: Tensor

    def add(self, values: Tensor) -> None:
        self.largest = torch.maximum(self.largest, _largest(values))


def _largest(values: Tensor) -> Tensor:
    return values.detach().reshape(-1, values.shape[-1]).abs().amax(dim=0)


class StaticLinear(nn.Module):
    """A linear layer with rounded inputs and weights.

    Parameters
    ----------
    linear : the layer
    factors : what each input channel is multiplied by, shape (inputs,)
    scale : size of a step of the inputs
    """

    factors: Tensor
    weight: Tensor
    weight_scale: Tensor
    zeros: Tensor

    def __init__(self, linear: nn.Linear, factors: Tensor, scale: float):
        super().__init__()
        self.scale = scale
        weight = linear.weight.detach() / factors
        self.register_buffer("factors", factors)
        self.register_buffer("weight", weight)
        self.register_buffer("weight_scale", weight.abs().amax(dim=1).clamp_min(_TINY) / STEPS)
        self.register_buffer("zeros", torch.zeros(len(weight), dtype=torch.int32))
        self.bias = linear.bias

    def forward(self, inputs: Tensor) -> Tensor:
        rounded = torch.fake_quantize_per_tensor_affine(inputs * self.factors, self.scale, 0, -STEPS - 1, STEPS)
        weight = torch.fake_quantize_per_channel_affine(
            self.weight, self.weight_scale, self.zeros, 0, -STEPS - 1, STEPS
        )
        return nn.functional.linear(rounded, weight, self.bias)


def quantize_graph(graph: Graph, batches: Iterable[tuple[Tensor, ...]], name: str) -> None:
    """Replace the linear layers of a graph's encoder, in place. Those that read one token of each text stay exact.

    Parameters
    ----------
    graph : the graph
    batches : inputs of the graph, of typical texts
    name : name of the model in messages

    Raises
    ------
    PetError
        If the encoder has no linear layers.
    """
    exact = single_token_layers(graph.encoder)
    places = [
        (parent, key, child)
        for parent in graph.encoder.modules()
        for key, child in parent.named_children()
        if type(child) is nn.Linear and child not in exact
    ]
    if not places:
        raise PetError(f"model {name}: int8 needs linear layers, but its encoder has none; omit --int8 or --quantize")
    made = {linear: made for seen in _measure(graph, batches) for linear, made in _rounded(seen)}
    for parent, key, child in places:
        setattr(parent, key, made.get(child, child))


def _measure(graph: Graph, batches: Iterable[tuple[Tensor, ...]]) -> list[_Seen]:
    """Run the graph on texts, and return what its linear layers read."""
    groups: dict[nn.Linear, _Seen] = {}
    last: list[tuple[Tensor, _Seen]] = []

    def note(layer: nn.Linear, given: tuple[Tensor, ...]) -> None:
        values = given[0]
        if last and last[0][0] is values:  # query, key and value read one tensor
            seen = groups.setdefault(layer, last[0][1])
            if layer not in seen.layers:
                seen.layers.append(layer)
            return
        seen = groups.setdefault(layer, _Seen([layer], _largest(values)))
        seen.add(values)
        last[:] = [(values, seen)]

    linears = [module for module in graph.encoder.modules() if type(module) is nn.Linear]
    handles = [linear.register_forward_pre_hook(note) for linear in linears]
    try:
        with torch.inference_mode():
            for batch in batches:
                graph(*batch)
                last.clear()
    finally:
        for handle in handles:
            handle.remove()
    return list({id(seen): seen for seen in groups.values()}.values())


def _rounded(seen: _Seen) -> list[tuple[nn.Linear, StaticLinear]]:
    weights = torch.stack([layer.weight.detach().abs().amax(dim=0) for layer in seen.layers]).amax(dim=0)
    largest = seen.largest.clamp_min(_TINY)
    factors = weights.clamp_min(_TINY) ** (1 - ALPHA) / largest**ALPHA
    scale = float((largest * factors).max()) / STEPS
    return [(layer, StaticLinear(layer, factors, scale)) for layer in seen.layers]
