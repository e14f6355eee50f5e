"""Learned vectors among the embeddings of words.

A filled pattern names learned vector number k by the id ``-k - 1`` (`pet.cloze.encode.ClozeEncoder`). The layer below
takes the place of the model's word embedding and knows these ids, so that nothing else of a model changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pet.errors import PetError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Numbers(nn.Module):
    """Learned numbers as they are."""

    def __init__(self, values: Tensor):
        super().__init__()
        self.values = nn.Parameter(values)

    def forward(self) -> Tensor:
        return self.values


class Reparameterized(nn.Module):
    """Learned numbers that are a start plus what a network gives.

    Parameters
    ----------
    start : not trained
    network : takes nothing, gives as many numbers as `start` has
    last : its last layer; set to zero here, so that training begins at the start
    """

    start: Tensor

    def __init__(self, start: Tensor, network: nn.Module, last: nn.Linear):
        super().__init__()
        self.register_buffer("start", start, persistent=False)
        self.network = network
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self) -> Tensor:
        with torch.autocast(self.start.device.type, enabled=False):
            return self.start + self.network().view_as(self.start)


def soft_places(ids: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """Where learned vectors stand in a batch of ids, and which one in each of these places."""
    places = torch.nonzero(ids < 0, as_tuple=True)
    return places, -ids[places] - 1


def put(values: Tensor, places: tuple[Tensor, ...], numbers: Tensor, table: Tensor) -> Tensor:
    """Rows of a table at some places of a batch of vectors."""
    # The gradient of F.embedding adds up in a fixed order; that of table[numbers] in that of the threads.
    return values.index_put(places, F.embedding(numbers, table).to(values.dtype))


class SoftEmbedding(nn.Embedding):
    """A word embedding with learned vectors for the ids -1, -2, ...

    Parameters
    ----------
    words : the model's own embedding, whose weight is shared
    learned : gives the vectors, shape (n, D)
    """

    def __init__(self, words: nn.Embedding, learned: nn.Module):
        super().__init__(words.num_embeddings, words.embedding_dim, words.padding_idx, _weight=words.weight.detach())
        self.weight = words.weight
        self.learned = learned
        self.hooks: list[Any] = []  # into other modules, which end with this one

    def forward(self, input: Tensor) -> Tensor:
        words = super().forward(input.clamp(min=0))
        return put(words, *soft_places(input), self.learned())


def word_embedding(model: PreTrainedModel, method: str) -> nn.Embedding:
    """The embedding that learned vectors can stand beside.

    Raises
    ------
    PetError
        When a model does more with a word than to look its vector up; `method` is what it was needed for.
    """
    words = model.get_input_embeddings()
    if type(words) is not nn.Embedding:
        raise PetError(
            f"--tuning {method}: the word embedding of a {model.config.model_type} model is built in a way that is "
            "not known here; use --tuning lora or full"
        )
    return words


def inject(model: PreTrainedModel, learned: nn.Module) -> None:
    """Put learned vectors into a model; `learned` gives them, shape (n, D)."""
    words = word_embedding(model, "prompt")
    model.set_input_embeddings(SoftEmbedding(words, learned))


def learned_values(model: PreTrainedModel) -> Tensor | None:
    """What was learned, any network in front of it folded away; None where nothing was put in."""
    words = model.get_input_embeddings()
    if not isinstance(words, SoftEmbedding):
        return None
    with torch.no_grad():
        values: Tensor = words.learned()
    return values.detach()


def remove(model: PreTrainedModel) -> None:
    """Put the plain embedding back."""
    words = model.get_input_embeddings()
    if not isinstance(words, SoftEmbedding):
        return
    for hook in words.hooks:
        hook.remove()
    plain = nn.Embedding(words.num_embeddings, words.embedding_dim, words.padding_idx, _weight=words.weight.detach())
    plain.weight = words.weight
    model.set_input_embeddings(plain)
