"""Priming: labelled examples stand before a text, as the same pattern with the label's word filled in.

Nothing is trained: a language model takes from its context what is asked of it (Brown et al. 2020, arXiv 2005.14165).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pet.cloze.tokens import FieldKey, Ragged, TokenTable, ragged_index

if TYPE_CHECKING:
    from pet.cloze.encode import Encoded

Array = NDArray[Any]


@dataclass(frozen=True)
class Primers:
    """Labelled examples that rows of one pattern begin with.

    Attributes
    ----------
    rows : tokens of each example, the separator behind it included
    count : how many stand before a text, at most
    order : int array, the examples in the order in which they are taken; None: the most similar ones first
    similar : what finds the similar ones
    start : tokens at the front of a row that stay there
    limit : longest row
    """

    rows: tuple[Array, ...]
    count: int
    order: Array | None
    similar: Neighbours | None
    start: int
    limit: int

    @property
    def tokens(self) -> int:
        """Tokens that the wanted examples have; about so many, where they differ from text to text."""
        chosen = range(len(self.rows)) if self.order is None else self.order
        lengths = [len(self.rows[i]) for i in chosen]
        return round(sum(lengths) / len(lengths) * min(self.count, len(lengths)))

    def put_before(self, encoded: Encoded, texts: Sequence[Ragged], rows: Array) -> Encoded:
        """Rows with as many whole examples before their text as there is room for; the first taken stands last.

        Parameters
        ----------
        encoded : filled patterns
        texts, rows : tokens of the fields, and which of their rows `encoded` has
        """
        from pet.cloze.encode import Encoded

        nearest = self.similar.of(texts, rows, self.count) if self.similar is not None else None
        before = [
            self._fitting(self.order if nearest is None else nearest[i], self.limit - int(length))
            for i, length in enumerate(encoded.ids.lengths)
        ]
        more = np.asarray([len(part) for part in before], dtype=np.int64)
        starts, lengths = encoded.ids.offsets[:-1], encoded.ids.lengths
        offsets = np.concatenate([[0], np.cumsum(lengths + more)]).astype(np.int64)
        ids = np.empty(int(offsets[-1]), dtype=np.int32)
        types = np.empty(len(ids), dtype=np.int8)
        ordinary = np.zeros(len(ids), dtype=bool)
        front, rest = np.full(len(more), self.start), lengths - self.start
        moved = [(offsets[:-1], starts, front), (offsets[:-1] + self.start + more, starts + self.start, rest)]
        for target, source, count in moved:
            place, origin = ragged_index(target, count), ragged_index(source, count)
            ids[place], types[place] = encoded.ids.values[origin], encoded.types[origin]
            ordinary[place] = encoded.ordinary[origin]
        place = ragged_index(offsets[:-1] + self.start, more)
        ids[place] = np.concatenate([np.zeros(0, np.int32), *before])
        types[place] = np.repeat(encoded.types[starts + np.minimum(self.start, lengths - 1)], more)
        return Encoded(Ragged(ids, offsets), types, ordinary, encoded.mask_position + more, encoded.cut)

    def _fitting(self, order: Array | None, room: int) -> Array:
        """The tokens of the examples that fit, of those that are wanted."""
        assert order is not None
        taken: list[Array] = []
        for example in order:
            if len(self.rows[example]) <= room:
                taken.append(self.rows[example])
                room -= len(self.rows[example])
        return np.concatenate([np.zeros(0, np.int32), *reversed(taken)])


class Neighbours:
    """Examples whose words are those of a text: the cosine between TF-IDF vectors of tokens.

    Parameters
    ----------
    texts : tokens of the examples' fields
    """

    def __init__(self, texts: Sequence[Ragged]):
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._weigh = TfidfVectorizer(analyzer=list)  # the tokens are those of the model
        self._examples = self._weigh.fit_transform(_documents(texts, np.arange(len(texts[0]))))

    def of(self, texts: Sequence[Ragged], rows: Array, count: int) -> Array:
        """The most similar examples of each text, the nearest first: int array of shape (rows, count)."""
        likeness = (self._weigh.transform(_documents(texts, rows)) @ self._examples.T).toarray()
        return np.argsort(-likeness, axis=1, kind="stable")[:, :count]


def _documents(texts: Sequence[Ragged], rows: Array) -> list[list[int]]:
    """All tokens of each text; one without any, which has no neighbours, gets a token that there is not."""
    return [[int(i) for part in texts for i in part[row]] or [-1] for row in rows]


def choose_primers(labels: Array, count: int, balanced: bool, generator: np.random.Generator) -> Array:
    """Draw examples for all texts.

    Parameters
    ----------
    labels : int array of shape (examples,)
    count : how many
    balanced : of each label as many as can be
    generator : the source of chance

    Returns
    -------
    int array of `count` numbers of examples, or of all where there are fewer
    """
    drawn = generator.permutation(len(labels))
    if balanced:
        seen: dict[int, int] = {}
        rounds = []
        for label in labels[drawn].tolist():
            rounds.append(seen.get(label, 0))
            seen[label] = rounds[-1] + 1
        drawn = drawn[np.argsort(rounds, kind="stable")]
    return drawn[:count]


def field_texts(tokens: TokenTable, keys: Sequence[FieldKey]) -> list[Ragged]:
    """Each field of a pattern once, whichever way it is tokenized there."""
    return [tokens[key] for key in {key.name: key for key in reversed(keys)}.values()]
