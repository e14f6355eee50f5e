"""Fast dropout on CPUs, with 16 random bits per element."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def dropout(values: Tensor, probability: float) -> Tensor:
    """Zero elements with a probability, and scale the others to preserve the mean.

    On a CPU, torch draws one number per element sequentially, which takes as long as a matrix product. Here one
    64-bit number decides four elements, so the probability is rounded to a multiple of 2 ** -16. Numbers come
    from torch's global generator. Other devices use torch's dropout.
    """
    if not probability:
        return values
    if values.device.type != "cpu":
        return F.dropout(values, probability)
    keep = torch.empty(values.shape, dtype=values.dtype)
    draw_kept(keep, probability)
    return values * keep


def draw_kept(keep: Tensor, probability: float) -> None:
    """Fill a contiguous tensor on a CPU with 0 for elements to drop, and with the factor of the others."""
    count = keep.numel()
    numbers = torch.empty((count + 3) // 4, dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
    bits = numbers.view(torch.int16)[:count].view(keep.shape)  # from -2 ** 15 to 2 ** 15 - 1
    torch.ge(bits, round(probability * 65536) - 32768, out=keep)  # five times as fast as casting what it returns
    keep.mul_(1 / (1 - probability))
