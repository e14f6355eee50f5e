"""Pattern-verbalizer pairs bound to a tokenizer."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pet.cloze.asked import check_kept, name_tokens, pair_rows
from pet.cloze.blank import Blank, line_break, mask_blank
from pet.cloze.choices import Choices, bind_choices
from pet.cloze.encode import ClozeEncoder
from pet.cloze.priming import Document, Neighbors, Primers, choose_primers, documents_of, field_texts
from pet.cloze.ragged import Encoded
from pet.cloze.settings import TOGETHER
from pet.cloze.tokens import TokenTable
from pet.cloze.words import word_tokens
from pet.errors import PetError
from pet.task.pattern import ANSWERS, Pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class PVP:
    """A pattern-verbalizer pair bound to a tokenizer. With a language model, it maps texts to label scores.

    Attributes
    ----------
    encoder : fills the pattern
    words : int64 array of shape (W,); concatenated token ids of all label words
    word_to_label : float32 array of shape (W, L); ``1 / |V_l|`` if the token belongs to a word of label l, else 0
    before : for each of the W tokens, the preceding tokens of its word (empty for single-token words)
    first_words : for each label, the tokens of its first word
    multi_token : how a masked language model scores several tokens; see `pet.cloze.settings.EncodingSettings`
    choices : the words of each row, if they come from the data; `words` then stand for the labels themselves
    names : tokens of the labels' names, if the pattern asks about each label by itself; its two "labels", L, are then
        no and yes. See `pet.cloze.asked`
    """

    encoder: ClozeEncoder
    words: NDArray[Any]
    word_to_label: NDArray[Any]
    before: tuple[tuple[int, ...], ...]
    first_words: tuple[tuple[int, ...], ...]
    multi_token: str = TOGETHER
    choices: Choices | None = None
    names: TokenTable | None = None

    def check_kept(self, tokens: TokenTable) -> None:
        """Raise `TextError` if a field that is never truncated does not fit in some text."""
        if self.names is None:
            self.encoder.check_kept(tokens)
        else:
            check_kept(self.encoder, tokens, self.names)

    def fill(self, tokens: TokenTable) -> Encoded:
        """Fill the pattern with every text; if it asks about each label by itself, once for each label."""
        if self.names is not None:
            texts, labels = len(next(iter(tokens.values()))), len(next(iter(self.names.values())))
            tokens = pair_rows(tokens, np.arange(texts), self.names, np.arange(labels))
        return self.encoder.encode(tokens)


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
    """Bind a pattern to a tokenizer: look up its label words and create its encoder.

    The score of a multi-token word is the sum of its token scores, so `PVP.word_to_label` weights every token.

    Parameters
    ----------
    pattern, labels : the pattern-verbalizer pair, and the labels in task order
    tokenizer, max_length, before, soft, blank : see `ClozeEncoder`
    mean_of_tokens : score multi-token words by the mean of their tokens instead of the sum

    Raises
    ------
    PetError
        If a word is unknown to the tokenizer, or the pattern leaves no room for text.
    """
    blank = blank or mask_blank(tokenizer)
    if pattern.verbalizer.by_row:
        encoder = ClozeEncoder(tokenizer, pattern.template, max_length, before=before, soft=soft, blank=blank)
        return bind_by_row(pattern, labels, encoder)
    continuation = blank.at_end and pattern.template.mask_follows_directly
    answers = ANSWERS if pattern.asks else labels
    groups = word_tokens(pattern.verbalizer, tokenizer, answers, continuation=continuation)
    tokens: list[int] = []
    context: list[tuple[int, ...]] = []
    shares: list[tuple[int, float]] = []
    for column, words in enumerate(groups):
        for word in words:
            share = 1 / len(words) / (len(word) if mean_of_tokens else 1)
            tokens += word
            context += [word[:i] for i in range(len(word))]
            shares += [(column, share)] * len(word)
    matrix = np.zeros((len(tokens), len(answers)), dtype=np.float32)
    for row, (column, share) in enumerate(shares):
        matrix[row, column] = share
    longest = max(len(word) for words in groups for word in words)
    encoder = ClozeEncoder(
        tokenizer, pattern.template, max_length, before=before, soft=soft, blank=blank, longest_word=longest
    )
    first_words = tuple(words[0] for words in groups)
    names = name_tokens(encoder, labels) if pattern.asks else None
    return PVP(encoder, np.asarray(tokens, dtype=np.int64), matrix, tuple(context), first_words, names=names)


def bind_by_row(pattern: Pattern, labels: Sequence[str], encoder: ClozeEncoder) -> PVP:
    """Return a pattern whose label words come from each row: the model scores labels, not words."""
    room = encoder.max_length - encoder.fixed_length
    choices = encoder.choices = bind_choices(pattern.verbalizer, labels, pattern.template, encoder.plain, room)
    count = len(labels)
    scores = np.eye(count, dtype=np.float32)
    return PVP(encoder, np.zeros(count, dtype=np.int64), scores, ((),) * count, ((),) * count, choices=choices)


def prime_pattern(
    pvp: PVP, tokens: TokenTable, labels: NDArray[Any], count: int, selection: str, generator: np.random.Generator
) -> PVP:
    """Return a pattern that prepends labeled examples to every text; see `pet.cloze.priming`.

    Parameters
    ----------
    pvp : the bound pattern
    tokens : token table of the labeled examples
    labels : int array of shape (examples,)
    count : maximum number of examples per text
    selection : ``random`` or ``balanced``, the same for every text, or ``similar``
    generator : random generator
    """
    if pvp.choices is not None:
        raise PetError(
            f"pattern {pvp.encoder.template.source!r}: priming requires the same label words for all texts, but these "
            "come from fields; leave priming out"
        )
    encoder = copy(pvp.encoder)
    separator = line_break(encoder.plain.tokenizer)
    every = np.arange(len(labels))
    documents = documents_of(field_texts(tokens, encoder.keys), every)
    known: dict[Document, list[int]] = {}
    for number, document in enumerate(documents):
        known.setdefault(document, []).append(number)
    similar = Neighbors(documents) if selection == "similar" else None
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
