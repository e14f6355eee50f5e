"""What all learned verbalizers have in common: they take the place of the language model that they use.

So members train and score with them as with words.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pet.backbones.base import BatchMaker, LanguageModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pet.cloze.pvp import PVP
    from pet.cloze.ragged import Encoded

Array = NDArray[Any]


class _Moving(nn.Module):
    """A tensor that learns `rate` times as fast as other parameters. Weight decay pulls it back to its start."""

    start: Tensor

    def __init__(self, start: Tensor, rate: float):
        super().__init__()
        self.register_buffer("start", start.detach().clone().float(), persistent=False)
        self.change = nn.Parameter(torch.zeros_like(self.start))
        self.rate = rate

    def forward(self) -> Tensor:
        return self.start + self.rate * self.change


class LearnedVerbalizer(LanguageModel):
    """Scores labels with tensors that are trained with the model.

    Parameters
    ----------
    lm : the language model
    arrays : name -> start of a learned tensor; see `arrays`

    Attributes
    ----------
    rate : learning rate of the tensors, as a multiple of the model's
    """

    rate: ClassVar[float]

    def __init__(self, lm: LanguageModel, arrays: Mapping[str, Tensor]):
        super().__init__(lm.model)
        self.lm = lm
        self.learned = nn.ModuleDict({name: _Moving(value, self.rate) for name, value in arrays.items()})

    @property
    def arrays(self) -> dict[str, Tensor]:
        """What the verbalizer has learned, by name."""
        return {name: module().detach() for name, module in self.learned.items()}

    @abstractmethod
    def bind(self, pvp: PVP) -> PVP:
        """Return a pattern whose "words" are the outputs of this verbalizer."""

    def scoring_batch(self, encoded: Encoded, rows: Array, pad_id: int) -> dict[str, Array]:
        return self.lm.scoring_batch(encoded, rows, pad_id)

    def batch_maker(
        self, tokenizer: PreTrainedTokenizerBase, probability: float, generator: np.random.Generator
    ) -> BatchMaker:
        return self.lm.batch_maker(tokenizer, probability, generator)
