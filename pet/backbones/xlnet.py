"""XLNet, which was trained to predict tokens in any order.

Instead of reading a mask token, XLNet predicts with a second stream that starts from a learned vector at the target
position, and hides the target from all tokens (Yang et al. 2019, arXiv 1906.08237, section 2.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from pet.backbones.base import Batch

TYPES = ("xlnet",)


def permuted_features(base: Any, inputs: Batch, rows: Tensor, positions: Tensor) -> Tensor:
    """Return hidden states at target positions, which are hidden from all tokens.

    Parameters
    ----------
    base : the model without its head
    inputs : ``input_ids``, ``attention_mask`` and ``token_type_ids``, each of shape (B, T)
    rows, positions : int64 tensors of shape (N,)

    Returns
    -------
    float tensor of shape (N, D)
    """
    count, width = inputs["input_ids"].shape
    asked = torch.zeros(count, width, dtype=torch.float32, device=rows.device)
    asked[rows, positions] = 1
    number = (asked.cumsum(dim=1) - 1).long()[rows, positions]  # index of each target within its row
    targets = torch.zeros(count, int(number.max()) + 1, width, dtype=torch.float32, device=rows.device)
    targets[rows, number, positions] = 1
    hidden: Tensor = base(
        **inputs, perm_mask=asked[:, None].repeat(1, width, 1), target_mapping=targets, use_mems=False
    )[0]
    return hidden[rows, number]
