"""Linear layers in int8 on a processor, for models that are only read.

Each row of what comes in gets a scale of its own, and each row of the weights: no text changes what another one
scores, and one large number spoils no more than its own token. The products and sums are exact; all that is lost
is lost by rounding to 255 steps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pet.errors import PetError

STEPS = 127  # from 0 to the largest number of a row


def quantize_rows(values: Tensor) -> tuple[Tensor, Tensor]:
    """Rows as int8 and a scale for each: ``values`` is about ``numbers * scale``.

    Parameters
    ----------
    values : float32, shape (rows, width)

    Returns
    -------
    numbers : int8, shape (rows, width), from -127 to 127; half-way cases go to the even one
    scale : float32, shape (rows, 1), above 0
    """
    # Two passes without a copy: three times as fast as abs().
    largest = torch.maximum(values.amax(dim=1, keepdim=True), -values.amin(dim=1, keepdim=True))
    scale = largest.clamp_min(torch.finfo(torch.float32).tiny * STEPS) / STEPS
    return (values / scale).round_().to(torch.int8), scale


class Int8Linear(nn.Module):
    """What a linear layer computes, with its weights and its input rounded to int8; inference only.

    Parameters
    ----------
    linear : the layer; its bias stays in float32
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, linear: nn.Linear):
        super().__init__()
        numbers, scale = quantize_rows(linear.weight.detach().float())
        self.register_buffer("weight", numbers)
        self.register_buffer("scale", scale[:, 0])
        bias = torch.zeros(len(numbers)) if linear.bias is None else linear.bias.detach().float()
        self.register_buffer("bias", bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (..., inputs) to (..., outputs), in the type that the layer itself would give."""
        numbers, scale = quantize_rows(inputs.reshape(-1, inputs.shape[-1]).float())
        # The underscore is the only name that it has. torch.ao's layers, deprecated, have one scale for a whole batch
        # and 7 bits (five times the error); torchao, without a compiler, takes twice as long as bf16.
        product = torch._int_mm(numbers, self.weight.t()).float().mul_(self.scale)
        outputs = torch.addcmul(self.bias, product, scale)
        given = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else inputs.dtype
        return outputs.view(*inputs.shape[:-1], -1).to(given)


def check_int8(device: torch.device) -> None:
    """Refuse where int8 products cannot be computed.

    Raises
    ------
    PetError
        On a GPU, or when this torch has no such products for processors.
    """
    if device.type != "cpu":
        raise PetError(
            f"--quantize is for processors, and this would run on {device.type}; add --device cpu, or leave out "
            "--quantize: half precision is fast there"
        )
    try:
        torch._int_mm(torch.ones(1, 8, dtype=torch.int8), torch.ones(8, 8, dtype=torch.int8))
    except (RuntimeError, AttributeError) as error:
        raise PetError(
            f"--quantize: torch {torch.__version__} cannot multiply int8 on this processor; update torch, or leave "
            "out --quantize"
        ) from error


def quantize_linears(model: nn.Module, name: str) -> int:
    """Put `Int8Linear` in place of the linear layers of a model's encoder; the head stays as it is.

    Parameters
    ----------
    model : a transformers model, changed in place
    name : what messages call it

    Returns
    -------
    int
        How many layers were replaced.

    Raises
    ------
    PetError
        When there is none.
    """
    base = getattr(model, "base_model", model)
    head = getattr(model, "get_output_embeddings", lambda: None)()  # which T5 has in its base
    # Subclasses are left alone: their owners read the weights themselves.
    found = [
        (parent, key, child)
        for parent in list(base.modules())
        for key, child in parent.named_children()
        if type(child) is nn.Linear and child is not head
    ]
    if not found:
        kinds = sorted({type(m).__name__ for m in base.modules() if getattr(m, "weight", None) is not None})
        raise PetError(
            f"model {name}: --quantize replaces linear layers, and its encoder has none ({', '.join(kinds)}); "
            "leave out --quantize"
        )
    for parent, key, child in found:
        setattr(parent, key, Int8Linear(child))
    return len(found)
