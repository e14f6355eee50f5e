"""A word embedding with learned vectors beside the words.

An encoded pattern refers to learned vector number k by the id ``-k - 1`` (`pet.cloze.encode.ClozeEncoder`).
`SoftEmbedding` replaces the model's word embedding and looks these ids up, so that nothing else in the model changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pet.errors import PetError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def soft_places(ids: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return the positions of learned vectors in a batch of ids, and the number of the vector at each."""
    places = torch.nonzero(ids < 0, as_tuple=True)
    return places, -ids[places] - 1


def put(values: Tensor, places: tuple[Tensor, ...], numbers: Tensor, table: Tensor) -> Tensor:
    """Return a batch of vectors with rows of a table at some positions."""
    # The gradient of F.embedding is summed in a fixed order; that of table[numbers] depends on the threads.
    return values.index_put(places, F.embedding(numbers, table).to(values.dtype))


class SoftEmbedding(nn.Embedding):
    """A word embedding with learned vectors for the ids -1, -2, ...

    Parameters
    ----------
    words : the model's own embedding, whose weight is shared
    learned : module that returns the vectors, shape (n, D)
    """

    def __init__(self, words: nn.Embedding, learned: nn.Module):
        super().__init__(words.num_embeddings, words.embedding_dim, words.padding_idx, _weight=words.weight.detach())
        self.weight = words.weight
        self.learned = learned
        self.hooks: list[Any] = []  # on other modules; removed together with this one

    def forward(self, input: Tensor) -> Tensor:
        """Return embeddings of words and learned vectors."""
        words = super().forward(input.clamp(min=0))
        return put(words, *soft_places(input), self.learned())


def word_embedding(model: PreTrainedModel, method: str) -> nn.Embedding:
    """Return the embedding that learned vectors are added to.

    Raises
    ------
    PetError
        If the model does more with a word than look up its vector; `method` is the tuning method named in the message.
    """
    words = model.get_input_embeddings()
    if type(words) is not nn.Embedding:
        raise PetError(
            f"--tuning {method}: the word embedding of a {model.config.model_type} model is not supported; use "
            "--tuning lora or full"
        )
    return words


def inject(model: PreTrainedModel, learned: nn.Module) -> None:
    """Add learned vectors to a model; `learned` returns them, shape (n, D)."""
    words = word_embedding(model, "prompt")
    model.set_input_embeddings(SoftEmbedding(words, learned))


def learned_values(model: PreTrainedModel) -> Tensor | None:
    """Return the learned numbers, without the network that produced them; None if the model has none."""
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
