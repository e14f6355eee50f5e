"""Patterns that ask about one label at a time: ``{label}`` is its name, and the mask is filled with yes or no.

A text becomes a row for each label. The name of the label is a field of this row, so that everything that reads
patterns reads these, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.cloze.encode import ClozeEncoder
from pet.cloze.ragged import Ragged
from pet.cloze.tokens import TokenTable, join_rows
from pet.task.filters import apply_filters
from pet.task.pattern import LABEL

Array = NDArray[Any]


def label_text(label: str) -> str:
    """Return the name of a label as it stands in a pattern.

    Examples
    --------
    >>> label_text("credit_cards")
    'credit cards'
    """
    return label.replace("_", " ")


def name_tokens(encoder: ClozeEncoder, labels: Sequence[str]) -> TokenTable:
    """Return the tokens of the labels' names, a row for each label, as a pattern reads them."""
    found = {}
    for key in encoder.keys:
        if key.name == LABEL:
            texts = [apply_filters(label_text(label), key.filters) for label in labels]
            rows = encoder.plain.encode(texts, space_before=key.space_before, continuation=key.continuation)
            found[key] = Ragged.from_rows(rows)
    return found


def about(tokens: TokenTable, names: TokenTable, labels: Array) -> TokenTable:
    """Return a token table whose rows ask about labels.

    Parameters
    ----------
    tokens : token table of texts
    names : see `name_tokens`
    labels : int array of shape (rows,), the label that each row asks about
    """
    return {**tokens, **join_rows([(names, labels)])}


def check_kept(encoder: ClozeEncoder, tokens: TokenTable, names: TokenTable) -> None:
    """Check that fields marked ``!keep`` fit into a pattern that asks about each label.

    Parameters
    ----------
    encoder : fills the pattern
    tokens : token table of texts
    names : see `name_tokens`

    Raises
    ------
    TextError
        With the row of the first text that does not fit with some label.
    """
    if not encoder.template.keeps_fields:
        return
    texts, labels = len(next(iter(tokens.values()))), len(next(iter(names.values())))
    for label in range(labels):
        encoder.check_kept(about(tokens, names, np.full(texts, label)))


def pair_rows(tokens: TokenTable, rows: Array, names: TokenTable, labels: Array) -> TokenTable:
    """Return a token table with a row for each text and label: all labels of the first text come first.

    Parameters
    ----------
    tokens : token table of texts
    rows : int array, the texts
    names : see `name_tokens`
    labels : int array, the labels
    """
    pairs = join_rows([(tokens, np.repeat(rows, len(labels)))])
    return about(pairs, names, np.tile(labels, len(rows)))
