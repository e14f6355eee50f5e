"""A pattern-verbalizer pair, bound to a tokenizer."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pet.cloze.blank import Blank, line_break
from pet.cloze.encode import ClozeEncoder
from pet.cloze.priming import Document, Neighbours, Primers, choose_primers, documents_of, field_texts
from pet.cloze.words import word_tokens
from pet.task.pattern import Pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase

    from pet.cloze.tokens import TokenTable


@dataclass(frozen=True)
class PVP:
    """What turns texts into label scores, given a language model.

    Attributes
    ----------
    encoder : fills the pattern
    words : int64 array of shape (W,); token ids of all label words, one after the other
    word_to_label : float32 array of shape (W, L); ``1 / |V_l|`` where the token is of one of label l's words
    before : for each of these tokens those of its word before it: none where every word is one token
    first_words : for each label the tokens of its first word
    """

    encoder: ClozeEncoder
    words: NDArray[Any]
    word_to_label: NDArray[Any]
    before: tuple[tuple[int, ...], ...]
    first_words: tuple[tuple[int, ...], ...]


def bind_pattern(
    pattern: Pattern,
    labels: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    *,
    before: int = 0,
    soft: bool = False,
    blank: Blank | None = None,
    mean_of_tokens: bool = False,
) -> PVP:
    """Look the words of a pattern up and prepare its encoder.

    The score of a word of several tokens is the sum of theirs, so that the columns of `PVP.word_to_label` count
    each token.

    Parameters
    ----------
    before, soft, blank : those of `ClozeEncoder`
    mean_of_tokens : take the mean of a word's tokens in place of their sum

    Raises
    ------
    PetError
        If a word is not one token and must be, or the pattern leaves no room for text.
    """
    several, at_end = (False, False) if blank is None else (blank.several, blank.at_end)
    glued = at_end and pattern.template.mask_is_glued
    groups = word_tokens(pattern.verbalizer, tokenizer, labels, several=several, glued=glued)
    tokens: list[int] = []
    context: list[tuple[int, ...]] = []
    shares: list[tuple[int, float]] = []
    for column, words in enumerate(groups):
        for word in words:
            share = 1 / len(words) / (len(word) if mean_of_tokens else 1)
            tokens += word
            context += [word[:i] for i in range(len(word))]
            shares += [(column, share)] * len(word)
    matrix = np.zeros((len(tokens), len(labels)), dtype=np.float32)
    for row, (column, share) in enumerate(shares):
        matrix[row, column] = share
    longest = max(len(word) for words in groups for word in words)
    encoder = ClozeEncoder(
        tokenizer, pattern.template, max_length, before=before, soft=soft, blank=blank, longest_word=longest
    )
    first_words = tuple(words[0] for words in groups)
    return PVP(encoder, np.asarray(tokens, dtype=np.int64), matrix, tuple(context), first_words)


def prime_pattern(
    pvp: PVP, tokens: TokenTable, labels: NDArray[Any], count: int, selection: str, generator: np.random.Generator
) -> PVP:
    """A pattern with labeled examples before every text; see `pet.cloze.priming`.

    Parameters
    ----------
    pvp : the pattern, bound with a model
    tokens : token table of the labeled examples
    labels : int array of shape (examples,)
    count : how many stand before a text, at most
    selection : ``random`` or ``balanced``, the same for every text, or ``similar``
    generator : the source of chance
    """
    encoder = copy(pvp.encoder)
    separator = line_break(encoder.plain.tokenizer)
    every = np.arange(len(labels))
    documents = documents_of(field_texts(tokens, encoder.keys), every)
    known: dict[Document, list[int]] = {}
    for number, document in enumerate(documents):
        known.setdefault(document, []).append(number)
    similar = Neighbours(documents) if selection == "similar" else None
    order = every if similar else choose_primers(labels, count, selection == "balanced", generator)
    rows = encoder.examples(tokens, order, [pvp.first_words[label] for label in labels[order]], separator)
    encoder.primers = Primers(
        rows=dict(zip(order.tolist(), rows, strict=True)),
        count=count,
        known=known,
        order=order,
        similar=similar,
        start=encoder.start_length,
        limit=encoder.max_length,
    )
    return replace(pvp, encoder=encoder)
