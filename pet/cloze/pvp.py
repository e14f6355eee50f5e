"""A pattern-verbalizer pair, bound to a tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pet.cloze.encode import ClozeEncoder
from pet.cloze.verbalizer import word_ids
from pet.task import Pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class PVP:
    """What turns texts into label scores, given a masked language model.

    Attributes
    ----------
    encoder : fills the pattern
    words : int64 array of shape (W,); token ids of all label words
    word_to_label : float32 array of shape (W, L); ``1 / |V_l|`` where the word is one of label l's
    """

    encoder: ClozeEncoder
    words: NDArray[Any]
    word_to_label: NDArray[Any]


def bind_pattern(
    pattern: Pattern,
    labels: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    *,
    before: int = 0,
    soft: bool = False,
) -> PVP:
    """Look the words of a pattern up and prepare its encoder; `before` and `soft` are those of `ClozeEncoder`.

    Raises
    ------
    PetError
        If a word is not one token, or the pattern leaves no room for text.
    """
    ids = word_ids(pattern.verbalizer, tokenizer, labels)
    words = np.asarray([word for group in ids for word in group], dtype=np.int64)
    matrix = np.zeros((len(words), len(labels)), dtype=np.float32)
    row = 0
    for column, group in enumerate(ids):
        matrix[row : row + len(group), column] = 1 / len(group)
        row += len(group)
    encoder = ClozeEncoder(tokenizer, pattern.template, max_length, before=before, soft=soft)
    return PVP(encoder, words, matrix)
