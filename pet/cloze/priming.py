"""Priming: labeled examples stand before a text, as the same pattern with the label's word filled in.

Nothing is trained: a language model takes from its context what is asked of it (Brown et al. 2020, arXiv 2005.14165).
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
_BLOCK = 256  # texts that are compared with all examples at a time


@dataclass(frozen=True)
class Primers:
    """Labeled examples that rows of one pattern begin with.

    Attributes
    ----------
    rows : number of an example -> its tokens, the separator behind it included
    count : how many stand before a text, at most
    known : tokens of an example's text -> the examples that are this text
    order : int array, the examples in the order in which they are taken
    similar : what finds the similar ones, which are taken then; or None
    start : tokens at the front of a row that stay there
    limit : longest row
    """

    rows: Mapping[int, Array]
    count: int
    known: Mapping[Document, list[int]]
    order: Array
    similar: Neighbours | None
    start: int
    limit: int

    @property
    def tokens_with_text(self) -> int:
        """About how many tokens the wanted examples and a text of their length have."""
        lengths = [len(row) for row in self.rows.values()]
        return round(sum(lengths) / len(lengths) * (min(self.count, len(lengths)) + 1))

    def put_before(self, encoded: Encoded, texts: Sequence[Ragged], rows: Array) -> Encoded:
        """Rows with as many whole examples before their text as there is room for; the first taken stands last.

        Parameters
        ----------
        encoded : filled patterns
        texts, rows : tokens of the fields, and which of their rows `encoded` has
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
        """The first examples of an order that are not the text itself, whose label would be given away."""
        own = self.known.get(document)
        return (order if own is None else order[~np.isin(order, own)])[: self.count]

    def _fitting(self, order: Array, room: int) -> Array:
        """The tokens of the examples that fit, of those that are wanted."""
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
    documents : tokens of the examples
    """

    def __init__(self, documents: Sequence[Document]):
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._weigh = TfidfVectorizer(analyzer=list)  # the tokens are those of the model
        self._examples = self._weigh.fit_transform(documents)

    def of(self, documents: Sequence[Document]) -> Iterator[Array]:
        """The numbers of all examples for each text, the nearest first."""
        for start in range(0, len(documents), _BLOCK):
            similarity = (self._weigh.transform(documents[start : start + _BLOCK]) @ self._examples.T).toarray()
            yield from np.argsort(-similarity, axis=1, kind="stable")


def documents_of(texts: Sequence[Ragged], rows: Array) -> list[Document]:
    """All tokens of each text; one without any, which has no neighbours, gets a token that there is not."""
    return [tuple(chain.from_iterable(part[row].tolist() for part in texts)) or (-1,) for row in rows]


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
