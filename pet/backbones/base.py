"""The interface shared by all kinds of language models."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from pet.backbones.choices import CHOICES, choice_scores
from pet.backbones.words import plan_paths

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pet.cloze.choices import Choices
    from pet.cloze.pvp import PVP
    from pet.cloze.ragged import Encoded

Array = NDArray[Any]
Batch = Mapping[str, Tensor]
# (labeled examples, row numbers, unlabeled examples or None) -> a micro-batch
BatchMaker = Callable[["Encoded", Array, "Encoded | None"], dict[str, Array]]


class LanguageModel(nn.Module):
    """A pretrained model that scores words at the mask.

    Parameters
    ----------
    model : the ``transformers`` model
    """

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.model = model

    @abstractmethod
    def scoring_batch(self, encoded: Encoded, rows: Array, pad_id: int) -> dict[str, Array]:
        """Return rows of filled patterns as a padded batch for `word_scores`."""

    @abstractmethod
    def batch_maker(
        self, tokenizer: PreTrainedTokenizerBase, probability: float, generator: np.random.Generator
    ) -> BatchMaker:
        """Return a function that creates batches for `training_pass`.

        Parameters
        ----------
        tokenizer : the model's tokenizer
        probability : share of the unlabeled tokens to hide, if the auxiliary loss hides tokens
        generator : random generator
        """

    @abstractmethod
    def word_scores(self, batch: Batch, words: Tensor, pvp: PVP) -> Tensor:
        """Score the tokens of label words at the mask of each row.

        Parameters
        ----------
        batch : batch from `scoring_batch`, as tensors
        words : ``pvp.words`` on the model's device, shape (W,)
        pvp : the pattern-verbalizer pair

        Returns
        -------
        float tensor of shape (B, W): logits or log-probabilities. For single-token words they differ by a constant
        per row, which the softmax over labels cancels.
        """

    def log_probabilities(self, batch: Batch, words: Tensor, pvp: PVP) -> Tensor:
        """Return the log-probabilities of the tokens of label words among all tokens; see `word_scores`."""
        return self.word_scores(batch, words, pvp)

    def choice_logits(self, batch: Batch, pvp: PVP) -> Iterable[Tensor]:
        """Return parts of the logits at the place of each token of ``batch["choices"]``, in order, of shape (n, V).

        Models that score labels without their words need not have it.
        """
        raise NotImplementedError

    def choice_scores(self, batch: Batch, pvp: PVP, plan: Choices) -> Tensor:
        """Return the scores of labels whose words come from each row: shape (B, L)."""
        return choice_scores(self.choice_logits(batch, pvp), batch[CHOICES], plan)

    def rows_per_text(self, pvp: PVP) -> int:
        """Number of rows that `word_scores` holds per text: one, or one per distinct prefix of multi-token words."""
        if pvp.choices is not None:
            return len(pvp.choices.keys)
        return len(plan_paths(pvp.before).rows)

    def extra_loss(self, outputs: Tensor, labels: Tensor) -> Tensor | None:
        """Return a loss of labeled rows in addition to that of their label scores; most models have none.

        Parameters
        ----------
        outputs : scores from `training_pass`, shape (B, W)
        labels : int64 of shape (B,), or probabilities of shape (B, L)
        """
        return None

    def words_of_training(self, tokens: Array, decay: float, pvp: PVP) -> AbstractContextManager[Any]:
        """Inside the block, train only the word embeddings of these tokens and of the label words, if that is possible.

        Parameters
        ----------
        tokens : token ids of all rows in the block, none of which is unlabeled, and of the padding between them
        decay : factor by which the training multiplies weights without a gradient
        pvp : the pattern-verbalizer pair
        """
        return nullcontext()

    @abstractmethod
    def training_pass(self, batch: Batch, words: Tensor, pvp: PVP) -> tuple[Tensor, Tensor | None]:
        """Return the word scores of the labeled rows and the auxiliary loss of the unlabeled rows.

        Returns
        -------
        scores : float tensor of shape (B, W)
        loss : scalar tensor, or None if the batch has no unlabeled rows
        """
