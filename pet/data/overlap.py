"""Find documents that overlap with other texts, so that no test text is trained on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_WORD = re.compile(r"[^\W_]+")


def word_ngrams(text: str, size: int) -> set[int]:
    """Return hashes of all runs of `size` words; case, punctuation and spacing do not matter.

    Examples
    --------
    >>> len(word_ngrams("To be, or not to be", 2)), word_ngrams("to be", 2) <= word_ngrams("To be, or not to be", 2)
    (4, True)
    """
    words = _WORD.findall(text.lower())
    return {hash(tuple(words[i : i + size])) for i in range(len(words) - size + 1)}


def drop_overlapping(documents: Sequence[str], others: Iterable[str], size: int) -> tuple[list[str], int]:
    """Leave out documents that share a run of `size` words with any of the other texts.

    Returns
    -------
    kept : list of str
    dropped : int
        How many documents were left out.
    """
    forbidden: set[int] = set()
    for text in others:
        forbidden |= word_ngrams(text, size)
    kept = (
        [text for text in documents if forbidden.isdisjoint(word_ngrams(text, size))] if forbidden else list(documents)
    )
    return kept, len(documents) - len(kept)
