"""Prefix tuning: learned keys and values in every layer (Li and Liang 2021, arXiv 2101.00190).

The prefix has places of its own in front of a row, with a position each. In every layer what the attention
computes as their key and value is replaced by learned numbers, so that nothing of their hidden states reaches the
text (but through the convolution that DeBERTa-v2 has behind its first layer, and v3 has not). That works in any
encoder, also where attention is more than a product of queries and keys, at the cost of the few places that run
along. In ModernBERT's local layers only the tokens near the front see the prefix.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pet.errors import PetError
from pet.tuning.attention import find_projections
from pet.tuning.soft import Numbers, Reparameterized, SoftEmbedding, put, soft_places, word_embedding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

_KEY, _VALUE = 0, 1  # in arrays of shape (..., 2, D)
# Their names are those of others; but one head for all, rows and places exchanged, attention replaced on the way.
_OTHERWISE = ("gpt_bigcode", "longformer", "big_bird")


class KeyValueNetwork(nn.Module):
    """The reparameterization: a vector for each place, through an MLP (arXiv 2101.00190, section 4.3)."""

    def __init__(self, length: int, outputs: int, hidden: int):
        super().__init__()
        self.places = nn.Parameter(torch.randn(length, hidden))
        self.first = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, outputs)

    def forward(self) -> Tensor:
        """Shape (length, outputs)."""
        values: Tensor = self.last(torch.tanh(self.first(self.places)))
        return values


# Gets _KEY or _VALUE and what an attention module has computed as such, and gives what to go on with (None: the same).
Change = Callable[[int, Tensor], "Tensor | None"]


def _one(change: Change, which: int, module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
    return change(which, output)


def _all_three(change: Change, module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
    query, key, value = output.chunk(3, dim=-1)
    new_key, new_value = change(_KEY, key), change(_VALUE, value)
    return None if new_key is None or new_value is None else torch.cat([query, new_key, new_value], dim=-1)


def _hook(model: PreTrainedModel, next_layer: Callable[..., None], change: Change) -> list[Any]:
    """Have `next_layer` called before each attention, and `change` with its keys and values; handles to end that."""
    handles = []
    for attention in find_projections(model, "prefix"):
        handles.append(attention.module.register_forward_pre_hook(next_layer))
        if len(attention.linear) == 1:
            handles.append(attention.linear[0].register_forward_hook(partial(_all_three, change)))
            continue
        for which in (_KEY, _VALUE):
            handles.append(attention.linear[1 + which].register_forward_hook(partial(_one, change, which)))
    return handles


class PrefixEmbedding(SoftEmbedding):
    """A word embedding that tells the attention modules where the prefix stands.

    Parameters
    ----------
    words : the model's own embedding, whose weight is shared
    learned : gives the prefix, shape (n, layers, 2, D): keys, then values
    model : whose attention modules are hooked into
    """

    def __init__(self, words: nn.Embedding, learned: nn.Module, model: PreTrainedModel):
        super().__init__(words, learned)
        self._now: tuple[tuple[Tensor, ...], Tensor, Tensor] | None = None
        self._layer = -1  # a module may serve in several layers: calls are counted
        self._done: set[int] = set()
        self.hooks = _hook(model, self._next_layer, self._change)
        self.hooks.append(model.base_model.register_forward_hook(self._end))

    def forward(self, input: Tensor) -> Tensor:
        self._layer = -1
        self._now = (*soft_places(input), self.learned())
        # What stands in the prefix's own places does not matter.
        return nn.Embedding.forward(self, input.clamp(min=0))

    def _next_layer(self, *_: Any) -> None:
        self._layer += 1
        self._done.clear()

    def _change(self, which: int, output: Tensor) -> Tensor | None:
        # DeBERTa also has its relative positions go through the key's matrix, after the text.
        if self._now is None or which in self._done:
            return None
        self._done.add(which)
        places, numbers, table = self._now
        return put(output, places, numbers, table[:, self._layer, which])

    def _end(self, *_: Any) -> None:
        self._now = None  # a graph must not outlive its step


def check_model(model: PreTrainedModel) -> None:
    """Refuse a model whose attention cannot take a prefix.

    Raises
    ------
    PetError
        When it has a decoder with a text of its own, or attention that is built otherwise than those that are known.
    """
    if model.config.is_encoder_decoder:
        raise PetError(
            f"--tuning prefix: a {model.config.model_type} model reads two texts, of which only the encoder's has "
            "places for a prefix; use --tuning prompt, lora or full"
        )
    if model.config.model_type in _OTHERWISE:
        raise _unknown(model)
    find_projections(model, "prefix")


def _unknown(model: PreTrainedModel) -> PetError:
    return PetError(
        f"--tuning prefix: the attention of a {model.config.model_type} model takes keys and values in a way that is "
        "not known here; use --tuning prompt, lora, bitfit or full"
    )


def keys_and_values(model: PreTrainedModel, ids: Sequence[int]) -> Tensor:
    """Keys and values that a plain model computes for some words: shape (n, layers, 2, D)."""
    calls: list[dict[int, Tensor]] = []

    def note(which: int, output: Tensor) -> None:
        calls[-1].setdefault(which, output[0])

    hooks = _hook(model, lambda *_: calls.append({}), note)
    device = model.get_input_embeddings().weight.device
    model.eval()
    try:
        with torch.no_grad():
            model.base_model(input_ids=torch.tensor([list(ids)], device=device))
    finally:
        for hook in hooks:
            hook.remove()
    found = [call.get(which) for call in calls for which in (_KEY, _VALUE)]
    if not found or any(part is None or len(part) != len(ids) for part in found):
        raise _unknown(model)
    pairs = [torch.stack([call[_KEY], call[_VALUE]], dim=1) for call in calls]
    return torch.stack(pairs, dim=1)


def inject(model: PreTrainedModel, start: Tensor, hidden: int | None) -> None:
    """Put a prefix into a frozen model.

    Parameters
    ----------
    start : shape (n, layers, 2, D). Keys and values of words are a good one (arXiv 2101.00190, section 7.4).
    hidden : width of the reparameterization; None for the numbers alone
    """
    learned: nn.Module = Numbers(start)
    if hidden is not None:
        network = KeyValueNetwork(len(start), start[0].numel(), hidden)
        learned = Reparameterized(start, network, network.last)
    check_model(model)
    model.set_input_embeddings(PrefixEmbedding(word_embedding(model, "prefix"), learned, model))
