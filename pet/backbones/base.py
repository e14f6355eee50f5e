"""What a kind of language model has to offer, so that the rest of the package need not know which one it is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from pet.backbones.words import plan_paths

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pet.cloze.pvp import PVP
    from pet.cloze.ragged import Encoded

Array = NDArray[Any]
Batch = Mapping[str, Tensor]
# Labeled rows, which of them, unlabeled rows (all of them) or None -> a micro-batch.
BatchMaker = Callable[["Encoded", Array, "Encoded | None"], dict[str, Array]]


class LanguageModel(nn.Module):
    """A pretrained model that scores words in a blank.

    Parameters
    ----------
    model : the ``transformers`` model
    """

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.model = model

    @abstractmethod
    def scoring_batch(self, encoded: Encoded, rows: Array, pad_id: int) -> dict[str, Array]:
        """Some filled patterns as a padded batch for `word_scores`."""

    @abstractmethod
    def batch_maker(
        self, tokenizer: PreTrainedTokenizerBase, probability: float, generator: np.random.Generator
    ) -> BatchMaker:
        """What makes batches for `training_pass`.

        Parameters
        ----------
        tokenizer : of the model
        probability : share of the tokens of unlabeled rows that is hidden, where the auxiliary loss hides some
        generator : the source of chance
        """

    @abstractmethod
    def word_scores(self, batch: Batch, words: Tensor, pvp: PVP) -> Tensor:
        """Scores of the tokens of label words in the blank of each row.

        Parameters
        ----------
        batch : what `scoring_batch` has made, as tensors
        words : ``pvp.words`` on the model's device, shape (W,)
        pvp : the pattern and its words

        Returns
        -------
        float tensor of shape (B, W): logits, or logarithms of probabilities, which differ by a number for each row
        where words are single tokens; with the softmax over labels that is the same
        """

    def rows_per_text(self, pvp: PVP) -> int:
        """Rows that `word_scores` holds at once for each text: one, or one for every beginning of a longer word."""
        return len(plan_paths(pvp.before).rows)

    @abstractmethod
    def training_pass(self, batch: Batch, words: Tensor, pvp: PVP) -> tuple[Tensor, Tensor | None]:
        """Word scores of a micro-batch's labeled rows, and the auxiliary loss of the others, if it has some."""
