"""Label words that come from each row, such as the two answers of a COPA question.

The words of a row have as many tokens as they have, so every word is scored in a text of its own: with one mask for
each of its tokens, or as the continuation of the text. The score of a word is the mean log-probability of its tokens,
because a sum would prefer short words, and no training can undo that if lengths differ from row to row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.cloze.ragged import ragged_index
from pet.cloze.tokens import FieldKey, PlainTextTokenizer, TokenTable
from pet.cloze.words import word_token
from pet.task.grammar import Field, Mask, Template
from pet.task.verbalizer import OTHER, Verbalizer

Array = NDArray[Any]
_MOST_TOKENS = 64  # longer words are cut at their end
NO_TOKEN = -1


@dataclass(frozen=True)
class Choices:
    """The words of each row.

    Attributes
    ----------
    keys : for each word that is scored, how its field is tokenized; None for a word that is the same in all rows
    fixed : for each word that is scored, its tokens if it is the same in all rows
    of_label : for each label, which word is scored
    other : for each label, True if its score is that of the most probable tokens besides those of the word
    most : longest word, in tokens; longer ones are cut at their end
    empty : token that stands for a word without tokens
    """

    keys: tuple[FieldKey | None, ...]
    fixed: tuple[tuple[int, ...], ...]
    of_label: tuple[int, ...]
    other: tuple[bool, ...]
    most: int = _MOST_TOKENS
    empty: int = 0

    @property
    def fields(self) -> list[FieldKey]:
        """The keys of the fields."""
        return [key for key in self.keys if key is not None]

    def tokens(self, table: TokenTable, rows: Array) -> Array:
        """Return the tokens of the words of some rows.

        Returns
        -------
        int64 array of shape (rows, words, longest word), filled up with `NO_TOKEN`
        """
        found: list[tuple[Array, Array]] = []
        for key, ids in zip(self.keys, self.fixed, strict=True):
            if key is None:
                found.append((np.tile(np.asarray(ids, dtype=np.int64), len(rows)), np.full(len(rows), len(ids))))
            else:
                ragged = table[key]
                lengths = np.minimum(ragged.lengths[rows], self.most)
                found.append((ragged.values[ragged_index(ragged.offsets[rows], lengths)], lengths))
        longest = max(1, *(int(lengths.max(initial=1)) for _, lengths in found))
        result = np.full((len(rows), len(found), longest), NO_TOKEN, dtype=np.int64)
        for word, (values, lengths) in enumerate(found):
            inside = np.arange(longest) < lengths[:, None]
            result[:, word][inside] = values
            result[lengths == 0, word, 0] = self.empty
        return result


def bind_choices(
    verbalizer: Verbalizer,
    labels: Sequence[str],
    template: Template,
    plain: PlainTextTokenizer,
    room: int,
) -> Choices:
    """Find out how to tokenize the words of each row.

    Parameters
    ----------
    verbalizer : with words that are fields
    labels : in task order
    template : the pattern, whose mask the words replace
    plain : the tokenizer
    room : tokens of a text that are not the pattern's own words; a word takes up to half of them
    """
    tokenizer = plain.tokenizer
    first, space_before = _mask_of(template)
    keys: list[FieldKey | None] = []
    fixed: list[tuple[int, ...]] = []
    scored: dict[str, int] = {}
    for label in labels:
        word = verbalizer.words[label][0]
        if label in verbalizer.fields:
            source = verbalizer.fields[label]
            keys.append(plain.key(Field(source.name, source.filters, space_before=space_before), first=first))
            fixed.append(())
        elif word != OTHER:
            keys.append(None)
            fixed.append(tuple(word_token(tokenizer, word)))
        else:
            continue
        scored[label] = len(keys) - 1
    main = scored[next(iter(verbalizer.fields))]
    return Choices(
        keys=tuple(keys),
        fixed=tuple(fixed),
        of_label=tuple(scored.get(label, main) for label in labels),
        other=tuple(label not in scored for label in labels),
        most=max(1, min(_MOST_TOKENS, room // 2)),
        empty=int(tokenizer.unk_token_id or 0),
    )


def _mask_of(template: Template) -> tuple[bool, bool]:
    """Return whether the mask is first in its segment, and whether it follows a space."""
    for parts in template.segments:
        for position, part in enumerate(parts):
            if isinstance(part, Mask):
                return position == 0, part.space_before
    raise ValueError("the template has no mask")
