"""Dropout that draws 16 random bits an element."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def dropout(values: Tensor, probability: float) -> Tensor:
    """Set elements to 0 with a probability, and scale the others so that the mean stays.

    torch draws a number of its own for each element, one after the other, which on a processor takes as long as
    a matrix product with them. Here one number of 64 bits decides on four elements. The probability is rounded to
    a multiple of 2 ** -16. The draws come from torch's global generator. Other devices draw as torch does.
    """
    if not probability:
        return values
    if values.device.type != "cpu":
        return F.dropout(values, probability)
    count = values.numel()
    numbers = torch.empty((count + 3) // 4, dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
    bits = numbers.view(torch.int16)[:count].view(values.shape)  # from -2 ** 15 to 2 ** 15 - 1
    keep = (bits >= round(probability * 65536) - 32768).to(values.dtype)
    return values * keep.mul_(1 / (1 - probability))
