"""The output layer at chosen positions only: computed everywhere, most of it would be thrown away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def logits_at(model: PreTrainedModel, input_ids: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Logits of a masked LM at chosen positions.

    The encoder's output is cut down to those positions before the head sees it, which works for
    every architecture whose head treats positions alike.

    Parameters
    ----------
    input_ids : tensor of int, shape (batch, length)
        Without padding.
    chosen : tensor of bool, shape (batch, length)

    Returns
    -------
    tensor, shape (number of chosen positions, vocabulary)
        In the order of reading.
    """

    def cut(_module: torch.nn.Module, _inputs: Any, output: Any) -> Any:
        output["last_hidden_state"] = output["last_hidden_state"][chosen].unsqueeze(0)
        return output

    handle = model.base_model.register_forward_hook(cut)
    try:
        logits: torch.Tensor = model(input_ids=input_ids, return_dict=True).logits
    finally:
        handle.remove()
    return logits[0]
