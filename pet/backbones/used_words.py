"""Train a model with only those rows of its word embeddings that the training texts and the label words use.

The embeddings of a small model are half of its parameters, those of a multilingual one most of them, and a few hundred
texts use a fraction of the rows. The others get no gradient: AdamW only applies weight decay to them. So training works
on a copy of the used rows, with gradients and optimizer state of that size. At the end, the others decay at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Array = NDArray[Any]
_MOST = 0.75  # share of the rows; with more of them, there is little to gain


class UsedWords(nn.Module):
    """An embedding of some of the ids of another one."""

    place: Tensor

    def __init__(self, whole: nn.Embedding, ids: Tensor):
        super().__init__()
        self.weight = nn.Parameter(whole.weight.detach()[ids])
        place = torch.full((len(whole.weight),), -1, device=ids.device)  # F.embedding refuses -1
        place[ids] = torch.arange(len(ids), device=ids.device)
        self.register_buffer("place", place, persistent=False)
        self.padding_idx = None if whole.padding_idx is None else int(place[whole.padding_idx])

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(self.place[ids], self.weight, self.padding_idx)

    def as_output(self, ids: Tensor) -> Tensor:
        """Return the rows of an output layer with the same weights, where padding is a word like others."""
        return self.weight[self.place[ids]]


@contextmanager
def only_used_words(
    model: PreTrainedModel, ids: Array, decay: float, output: Tensor | None = None
) -> Iterator[UsedWords | None]:
    """Inside the block, the model has only the embeddings of some tokens; it must see no others.

    Nothing changes if the embeddings are also weights of another layer, or most of them are used.

    Parameters
    ----------
    model : a model that is trained inside the block
    ids : token ids of the training texts, with duplicates, and of the padding between them
    decay : factor by which the training multiplies weights without a gradient
    output : weights of the output layer, if the caller takes their rows from the yielded embeddings where these are
        the same weights

    Yields
    ------
    The embeddings of the tokens, or None if nothing changes
    """
    whole = model.get_input_embeddings()
    if not _can_be_split(model, whole, output):
        yield None
        return
    used = np.unique(ids if whole.padding_idx is None else np.append(ids, whole.padding_idx))
    if len(used) > _MOST * len(whole.weight):
        yield None
        return
    rows = torch.from_numpy(used).long().to(whole.weight.device)
    part = UsedWords(whole, rows)
    model.set_input_embeddings(part)
    try:
        yield part
    finally:
        model.set_input_embeddings(whole)
        with torch.no_grad():
            whole.weight.mul_(decay)
            whole.weight[rows] = part.weight.to(whole.weight.device)


def _can_be_split(model: PreTrainedModel, whole: Any, output: Tensor | None) -> bool:
    """Return True if a model's word embeddings are trained, plain, and weights of nothing else but the output."""
    if type(whole) is not nn.Embedding or not whole.weight.requires_grad or whole.max_norm or whole.scale_grad_by_freq:
        return False
    same = [name for name, own in model.named_parameters(remove_duplicate=False) if own is whole.weight]
    return len(same) == 1 or (len(same) == 2 and output is whole.weight)
