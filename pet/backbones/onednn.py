"""Linear layers in float32 by oneDNN, for inference on processors where torch's own products are slower.

torch multiplies float32 with MKL, which on AMD's processors with AVX-512 gets half of the speed that oneDNN does. The
operation is the one that torch's compiler uses. It adds the bias and applies a GELU while a product is in the cache.
The results differ by rounding only.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import GELUActivation

from pet.backbones.int8 import encoder_linears

_PROCESSORS = Path("/proc/cpuinfo")


class OneDnnLinear(nn.Module):
    """A linear layer in float32, for inference.

    Parameters
    ----------
    linear : the layer, whose weights are copied into oneDNN's own layout
    gelu : apply the exact GELU to the outputs
    """

    def __init__(self, linear: nn.Linear, *, gelu: bool = False):
        super().__init__()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)
        self._bias = None if linear.bias is None else linear.bias.detach()
        self._then: tuple[str, list[float], str] = ("gelu", [], "none") if gelu else ("none", [], "")

    def forward(self, inputs: Tensor) -> Tensor:
        """Map shape (..., inputs) to (..., outputs)."""
        outputs: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, self._weight, self._bias, *self._then)
        return outputs


@cache
def is_faster() -> bool:
    """Return True if oneDNN multiplies float32 faster than torch does by itself on this processor."""
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkl.is_available()):
        return False
    if not all(hasattr(torch.ops.mkldnn, name) for name in ("_reorder_linear_weight", "_linear_pointwise")):
        return False
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    try:
        return "AuthenticAMD" in _PROCESSORS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def use_onednn(model: nn.Module) -> int:
    """Replace the linear layers of a model's encoder by `OneDnnLinear`; then it can neither be trained nor saved.

    Parameters
    ----------
    model : a transformers model in float32 on a CPU, modified in place

    Returns
    -------
    int
        Number of replaced layers.
    """
    found = [
        (parent, key, child) for parent, key, child in encoder_linears(model) if child.weight.dtype == torch.float32
    ]
    for parent, key, child in found:
        activation: Any = getattr(parent, "intermediate_act_fn", None)  # of BERT's feed-forward layers
        gelu = type(activation) is GELUActivation and activation.act is F.gelu
        setattr(parent, key, OneDnnLinear(child, gelu=gelu))
        if gelu:
            parent.intermediate_act_fn = nn.Identity()
    return len(found)
