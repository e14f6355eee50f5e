"""Words that say nothing about a label, such as `in` and `the`, although the model fills them in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
ASSOCIATED = 1.0  # standard errors by which a frequent word must be more frequent in the texts of its label
UPPER = 0.9  # quantile of the texts in which a word must be more likely than without text
_LETTERS = re.compile(r"[^\W\d_]+")


def association(present: Array, belongs: Array) -> Array:
    """Return by how many standard errors words are more frequent in the texts of a label than in the others.

    It is the log odds ratio of the counts of texts, with one half added to each, divided by its standard error.

    Parameters
    ----------
    present : bool array of shape (rows, C): whether a text has a word
    belongs : bool array of shape (rows, L): whether a text has a label

    Returns
    -------
    float array of shape (C, L)

    Examples
    --------
    >>> present = np.array([[1, 1], [1, 1], [1, 1], [0, 1], [0, 1], [0, 1]], bool)
    >>> belongs = np.array([[1], [1], [1], [0], [0], [0]], bool)
    >>> association(present, belongs).round(2).tolist()
    [[1.82], [0.0]]
    """
    inside, outside = belongs.astype(float), (~belongs).astype(float)
    seen, missing = present.T.astype(float), (~present).T.astype(float)
    cells = [seen @ inside, seen @ outside, missing @ inside, missing @ outside]
    a, b, c, d = (cell + 0.5 for cell in cells)
    return np.asarray((np.log(a) - np.log(b) - np.log(c) + np.log(d)) / np.sqrt(1 / a + 1 / b + 1 / c + 1 / d))


def presence(texts: Iterable[str], words: Sequence[str]) -> Array:
    """Return which texts have which words, whatever their case: bool array of shape (rows, C).

    Examples
    --------
    >>> presence(["In the box.", "Outbox"], ["in", "box"]).tolist()
    [[True, True], [False, False]]
    """
    places = {word.casefold(): place for place, word in enumerate(words)}
    rows = []
    for text in texts:
        row = np.zeros(len(words), dtype=bool)
        found = {word.casefold() for word in _LETTERS.findall(text)}
        row[[places[word] for word in found if word in places]] = True
        rows.append(row)
    return np.array(rows, dtype=bool).reshape(-1, len(words))


def telling(lift: Array, frequent: Array, associated: Array, named: Array) -> Array:
    """Return which words may stand for a label.

    A word of the label's name may. Any other word must be more likely at the mask of some texts than without text, and
    if it is one of the most frequent words of the texts, it must have something to do with the label.

    Parameters
    ----------
    lift : log-probability at the mask of the texts that favor the word, minus that without text, shape (C, L)
    frequent : bool array of shape (C,): one of the most frequent words
    associated : bool array of shape (C, L): more frequent in the texts of the label
    named : bool array of shape (C, L): a word of the label's name or description

    Returns
    -------
    bool array of shape (C, L)

    Examples
    --------
    >>> lift, no = np.array([[0.5], [0.5], [-0.5]]), np.zeros((3, 1), bool)
    >>> telling(lift, np.array([True, False, False]), no, no).tolist()
    [[False], [True], [False]]
    """
    return np.asarray(named | ((lift > 0) & (~frequent[:, None] | associated)))
