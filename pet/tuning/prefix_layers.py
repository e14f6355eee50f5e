"""Learned keys and values in the attention of every layer.

The prefix takes its own positions in front of a row. In every layer the keys and values that the attention computes
there are replaced by learned numbers, so that their hidden states do not reach the text (except through the convolution
behind DeBERTa-v2's first layer, which v3 does not have). This works in any encoder, whatever else its attention does,
at the cost of a few more positions. In ModernBERT's local layers only the tokens near the front see the prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pet.errors import PetError
from pet.tuning.attention import find_projections
from pet.tuning.soft import SoftEmbedding, put, soft_places, word_embedding

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_KEY, _VALUE = 0, 1  # in arrays of shape (..., 2, D)
# Their modules have known names, but one head for all, rows and positions swapped, or other attention in some layers.
_UNSUPPORTED = ("gpt_bigcode", "longformer", "big_bird")

# Takes _KEY or _VALUE and the attention's own output, and returns its replacement (None: keep it).
Change = Callable[[int, Tensor], "Tensor | None"]


def _one(change: Change, which: int, module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
    return change(which, output)


def _all_three(change: Change, module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
    query, key, value = output.chunk(3, dim=-1)
    new_key, new_value = change(_KEY, key), change(_VALUE, value)
    return None if new_key is None or new_value is None else torch.cat([query, new_key, new_value], dim=-1)


def _hook(model: PreTrainedModel, next_layer: Callable[..., None], change: Change) -> list[Any]:
    """Call `next_layer` before each attention, and `change` on its keys and values; return handles that remove this."""
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
    """A word embedding that passes the positions of the prefix to the attention modules.

    Parameters
    ----------
    words : the model's own embedding, whose weight is shared
    learned : module that returns the prefix, shape (n, layers, 2, D): keys, then values
    model : its attention modules are hooked
    """

    def __init__(self, words: nn.Embedding, learned: nn.Module, model: PreTrainedModel):
        super().__init__(words, learned)
        self._now: tuple[tuple[Tensor, ...], Tensor, Tensor] | None = None
        self._layer = -1  # one module may serve several layers, so calls are counted
        self._done: set[int] = set()
        self.hooks = _hook(model, self._next_layer, self._change)
        self.hooks.append(model.base_model.register_forward_hook(self._end))

    def forward(self, input: Tensor) -> Tensor:
        """Return embeddings of the words; those at the prefix's positions do not matter."""
        self._layer = -1
        self._now = (*soft_places(input), self.learned())
        return nn.Embedding.forward(self, input.clamp(min=0))

    def _next_layer(self, *_: Any) -> None:
        self._layer += 1
        self._done.clear()

    def _change(self, which: int, output: Tensor) -> Tensor | None:
        # DeBERTa passes its relative positions through the key matrix, too, after the text.
        if self._now is None or which in self._done:
            return None
        self._done.add(which)
        places, numbers, table = self._now
        return put(output, places, numbers, table[:, self._layer, which])

    def _end(self, *_: Any) -> None:
        self._now = None  # the graph must not outlive its step


def check_model(model: PreTrainedModel) -> None:
    """Raise PetError if the model has a decoder with its own text, or unsupported attention."""
    if model.config.is_encoder_decoder:
        raise PetError(
            f"--tuning prefix: a {model.config.model_type} model reads two texts, and only the encoder's has room for "
            "a prefix; use --tuning prompt, lora or full"
        )
    if model.config.model_type in _UNSUPPORTED:
        raise _unsupported(model)
    find_projections(model, "prefix")


def _unsupported(model: PreTrainedModel) -> PetError:
    return PetError(
        f"--tuning prefix: the attention of a {model.config.model_type} model is not supported; use --tuning prompt, "
        "lora, bitfit or full"
    )


def keys_and_values(model: PreTrainedModel, ids: Sequence[int]) -> Tensor:
    """Return the keys and values that a plain model computes for some words: shape (n, layers, 2, D)."""
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
        raise _unsupported(model)
    pairs = [torch.stack([call[_KEY], call[_VALUE]], dim=1) for call in calls]
    return torch.stack(pairs, dim=1)


def inject(model: PreTrainedModel, learned: nn.Module) -> None:
    """Add a prefix to a frozen model; `learned` returns it, shape (n, layers, 2, D)."""
    check_model(model)
    model.set_input_embeddings(PrefixEmbedding(word_embedding(model, "prefix"), learned, model))
