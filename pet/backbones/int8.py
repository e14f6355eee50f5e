"""Int8 linear layers for inference on CPUs.

Each row of the input and each row of the weights has its own scale, so texts do not affect each other's scores and
an outlier only affects its own token. Products and sums are exact; the only error is the rounding to 255 steps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pet.errors import PetError

STEPS = 127  # steps between 0 and the largest magnitude of a row


def quantize_rows(values: Tensor) -> tuple[Tensor, Tensor]:
    """Quantize rows to int8, with one scale per row: ``values`` is approximately ``numbers * scale``.

    Parameters
    ----------
    values : float32, shape (rows, width)

    Returns
    -------
    numbers : int8, shape (rows, width), from -127 to 127; ties round to even
    scale : float32, shape (rows, 1), positive
    """
    # Two passes without a copy, three times as fast as abs().
    largest = torch.maximum(values.amax(dim=1, keepdim=True), -values.amin(dim=1, keepdim=True))
    scale = largest.clamp_min(torch.finfo(torch.float32).tiny * STEPS) / STEPS
    return (values / scale).round_().to(torch.int8), scale


class Int8Linear(nn.Module):
    """A linear layer with weights and inputs quantized to int8. Inference only.

    Parameters
    ----------
    linear : the layer to quantize; its bias stays in float32
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
        """Map shape (..., inputs) to (..., outputs), in the dtype that the original layer would return."""
        numbers, scale = quantize_rows(inputs.reshape(-1, inputs.shape[-1]).float())
        # There is no public name for _int_mm. torch.ao's deprecated layers have one scale per batch and 7 bits (five
        # times the error); torchao without a compiler takes twice as long as bf16.
        product = torch._int_mm(numbers, self.weight.t()).float().mul_(self.scale)
        outputs = torch.addcmul(self.bias, product, scale)
        given = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else inputs.dtype
        return outputs.view(*inputs.shape[:-1], -1).to(given)


def check_int8(device: torch.device) -> None:
    """Check that int8 products can be computed.

    Raises
    ------
    PetError
        For a GPU, or if this version of torch does not support int8 products on this CPU.
    """
    if device.type != "cpu":
        raise PetError(
            f"--quantize requires a CPU, but the device is {device.type}; add --device cpu, or omit --quantize "
            "(half precision is fast on a GPU)"
        )
    try:
        torch._int_mm(torch.ones(1, 8, dtype=torch.int8), torch.ones(8, 8, dtype=torch.int8))
    except (RuntimeError, AttributeError) as error:
        raise PetError(
            f"--quantize: torch {torch.__version__} does not support int8 products on this CPU; update torch, or omit "
            "--quantize"
        ) from error


def quantize_linears(model: nn.Module, name: str) -> int:
    """Replace the linear layers of a model's encoder by `Int8Linear`; the head is unchanged.

    Parameters
    ----------
    model : a transformers model, modified in place
    name : name of the model for messages

    Returns
    -------
    int
        Number of replaced layers.

    Raises
    ------
    PetError
        If the encoder has no linear layers.
    """
    found, base = encoder_linears(model), getattr(model, "base_model", model)
    if not found:
        kinds = sorted({type(m).__name__ for m in base.modules() if getattr(m, "weight", None) is not None})
        raise PetError(
            f"model {name}: --quantize needs linear layers, but its encoder has none (only {', '.join(kinds)}); "
            "omit --quantize"
        )
    for parent, key, child in found:
        setattr(parent, key, Int8Linear(child))
    return len(found)


def encoder_linears(model: nn.Module) -> list[tuple[nn.Module, str, nn.Linear]]:
    """Return the linear layers of a model's encoder: the module that holds each, its name there, and the layer."""
    base = getattr(model, "base_model", model)
    head = getattr(model, "get_output_embeddings", lambda: None)()  # part of the base in T5
    # Skip subclasses: their modules read the weights directly.
    return [
        (parent, key, child)
        for parent in list(base.modules())
        for key, child in parent.named_children()
        if type(child) is nn.Linear and child is not head
    ]
