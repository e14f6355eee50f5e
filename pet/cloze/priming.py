"""Priming: prepend labeled examples to a text, each as the same pattern filled with its label word.

This is in-context learning, without training (Brown et al. 2020, arXiv 2005.14165).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.cloze.ragged import Encoded, Ragged, ragged_index
from pet.cloze.tokens import FieldKey, TokenTable

Array = NDArray[Any]
Document = tuple[int, ...]
_BLOCK = 256  # number of texts to compare with all examples at once


@dataclass(frozen=True)
class Primers:
    """Labeled examples to prepend to the rows of one pattern.

    Attributes
    ----------
    rows : example number -> its tokens, including the separator after it
    count : maximum number of examples per text
    known : tokens of an example's text -> the examples with this text
    order : int array, example numbers in order of preference
    similar : finds the most similar examples for each text; None: use `order` for all texts
    start : number of special tokens at the start of a row, which stay in front
    limit : maximum row length
    """

    rows: Mapping[int, Array]
    count: int
    known: Mapping[Document, list[int]]
    order: Array
    similar: Neighbors | None
    start: int
    limit: int

    @property
    def typical_length(self) -> int:
        """Approximate length of a row: `count` examples of mean length, plus a text as long as one of them."""
        lengths = [len(row) for row in self.rows.values()]
        return round(sum(lengths) / len(lengths) * (min(self.count, len(lengths)) + 1))

    def prepend_to(self, encoded: Encoded, texts: Sequence[Ragged], rows: Array) -> Encoded:
        """Prepend as many whole examples as fit, the most preferred one closest to the text.

        Parameters
        ----------
        encoded : filled patterns
        texts : tokens of each field
        rows : int array, the rows of `texts` in `encoded`
        """
        documents = documents_of(texts, rows)
        orders: Iterable[Array] = repeat(self.order) if self.similar is None else self.similar.of(documents)
        rooms = self.limit - encoded.ids.lengths
        before = [
            self._fitting(self._others(order, document), int(room))
            for order, document, room in zip(orders, documents, rooms, strict=False)
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

    def _others(self, order: Array, document: Document) -> Array:
        """Return the preferred examples, except those equal to the text: they would reveal its label."""
        own = self.known.get(document)
        return (order if own is None else order[~np.isin(order, own)])[: self.count]

    def _fitting(self, order: Array, room: int) -> Array:
        """Return the tokens of the examples that fit."""
        taken: list[Array] = []
        for example in order:
            if len(self.rows[example]) <= room:
                taken.append(self.rows[example])
                room -= len(self.rows[example])
        return np.concatenate([np.zeros(0, np.int32), *reversed(taken)])


class Neighbors:
    """Ranks examples by similarity to a text: cosine between TF-IDF vectors of tokens.

    Parameters
    ----------
    documents : tokens of each example
    """

    def __init__(self, documents: Sequence[Document]):
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._weigh = TfidfVectorizer(analyzer=list)  # documents are already tokenized
        self._examples = self._weigh.fit_transform(documents)

    def of(self, documents: Sequence[Document]) -> Iterator[Array]:
        """Yield for each text the numbers of all examples, most similar first."""
        for start in range(0, len(documents), _BLOCK):
            similarity = (self._weigh.transform(documents[start : start + _BLOCK]) @ self._examples.T).toarray()
            yield from np.argsort(-similarity, axis=1, kind="stable")


def documents_of(texts: Sequence[Ragged], rows: Array) -> list[Document]:
    """Concatenate the field tokens of each text. A text without tokens becomes (-1,), which is similar to nothing."""
    return [tuple(chain.from_iterable(part[row].tolist() for part in texts)) or (-1,) for row in rows]


def choose_primers(labels: Array, count: int, balanced: bool, generator: np.random.Generator) -> Array:
    """Draw the examples to prepend to all texts.

    Parameters
    ----------
    labels : int array of shape (examples,)
    count : number of examples to draw
    balanced : True to balance the labels as far as possible
    generator : random generator

    Returns
    -------
    int array of `count` distinct example numbers, or of all if there are fewer
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
    """Return the tokens of each field of a pattern once, even if it is tokenized in several ways."""
    return [tokens[key] for key in {key.name: key for key in reversed(keys)}.values()]
