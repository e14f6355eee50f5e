"""A learned verbalizer that keeps the words of the labels, and learns how much each of them counts."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from pet.backbones.base import Batch, LanguageModel
from pet.backbones.learned import LearnedVerbalizer

if TYPE_CHECKING:
    from pet.cloze.pvp import PVP

Array = NDArray[Any]


class WordWeights(LearnedVerbalizer):
    """A weight for each word of a label, as in KPT (arXiv 2108.02035, section 3.4).

    s(l|x) = sum over w in V_l of a_w z_w(x), where z_w is the score of word w at the mask, and a is the softmax of the
    learned weights of the words of label l. Weights that are all 0 give the mean of the words, as without them.

    Its tensor is ``weights``, a number for each word, in the order of the labels and their words.

    Parameters
    ----------
    lm : the language model, of any kind
    arrays : ``weights``
    pvp : the pattern whose words are weighted
    """

    rate = 1000.0
    tokens: Tensor
    word: Tensor
    label: Tensor

    def __init__(self, lm: LanguageModel, arrays: Mapping[str, Tensor], pvp: PVP):
        super().__init__(lm, arrays)
        shares = torch.from_numpy(pvp.word_to_label)
        starts = torch.tensor([not context for context in pvp.before])
        word = starts.long().cumsum(dim=0) - 1  # of each token
        label = shares.argmax(dim=1)[starts]  # of each word
        self.words_of_label = torch.bincount(label, minlength=shares.shape[1])
        # Without the number of its label's words, a token counts as 1, or less if a word is the mean of its tokens.
        self.register_buffer("tokens", shares * self.words_of_label, persistent=False)
        self.register_buffer("word", word, persistent=False)
        self.register_buffer("label", F.one_hot(label, shares.shape[1]).bool(), persistent=False)

    @staticmethod
    def start(pvp: PVP) -> dict[str, Tensor]:
        """Return weights with which all words of a label count the same."""
        return {"weights": torch.zeros(sum(not context for context in pvp.before))}

    def shares(self) -> Tensor:
        """Return how much each word counts: shape (words,); the words of a label add up to 1."""
        weights: Tensor = self.learned["weights"]()
        columns = weights[:, None].masked_fill(~self.label, float("-inf"))
        return columns.softmax(dim=0).sum(dim=1)

    def bind(self, pvp: PVP) -> PVP:
        """Return the pattern with the same words, whose outputs are the scores of the labels."""
        return replace(pvp, word_to_label=np.eye(len(self.words_of_label), dtype=np.float32))

    def rows_per_text(self, pvp: PVP) -> int:
        return self.lm.rows_per_text(pvp)

    def word_scores(self, batch: Batch, words: Tensor, pvp: PVP) -> Tensor:
        return self.score(self.lm.word_scores(batch, words, pvp))

    def words_of_training(self, tokens: Array, decay: float, pvp: PVP) -> AbstractContextManager[Any]:
        return self.lm.words_of_training(tokens, decay, pvp)

    def training_pass(self, batch: Batch, words: Tensor, pvp: PVP) -> tuple[Tensor, Tensor | None]:
        scores, auxiliary = self.lm.training_pass(batch, words, pvp)
        return self.score(scores), auxiliary

    def score(self, scores: Tensor) -> Tensor:
        """Return the scores of the labels, shape (B, L), for scores of the words' tokens, shape (B, W)."""
        with torch.autocast(scores.device.type, enabled=False):
            return scores.float() @ (self.tokens * self.shares()[self.word, None])
