"""The text to train on: leave out what overlaps with other files, repeat some of it, and hold some back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pet.data.documents import read_documents
from pet.errors import PetError

_WORD = re.compile(r"[^\W_]+")


def read_repeats(repeats: Sequence[str], sources: Sequence[str], **how: Any) -> dict[str, int]:
    """Return how often each document is read in a pass, for sources given as ``SOURCE=N``.

    Parameters
    ----------
    repeats : sequence of str
    sources : sequence of str
        All sources of the text; each repeated source must be one of them.
    how : further arguments of `read_documents`

    Raises
    ------
    PetError
        If a repeat has another form or names something that is not a source.
    """
    times: dict[str, int] = {}
    for repeat in repeats:
        source, _, number = repeat.rpartition("=")
        if not number.isdecimal() or int(number) < 1:
            raise PetError(f"--repeat {repeat}: write SOURCE=N with a whole number N, as in --repeat news.txt=5")
        if source not in sources:
            raise PetError(f"--repeat {repeat}: {source!r} is not a --text of this command; name it there, too")
        times |= dict.fromkeys(read_documents([source], **how), int(number))
    return times


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


def hold_out(documents: Sequence[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """Split documents at random into (training, held-out), with at least one document on each side.

    Raises
    ------
    PetError
        If there are fewer than two documents.
    """
    if len(documents) < 2:
        raise PetError(
            f"the text has {len(documents)} document, and one must be held out for evaluation; give more text, or "
            "choose --document so that the file has several"
        )
    order = np.random.default_rng([seed, 1]).permutation(len(documents))
    count = min(max(1, round(share * len(documents))), len(documents) - 1)
    held, rest = np.sort(order[:count]), np.sort(order[count:])
    return [documents[i] for i in rest], [documents[i] for i in held]
