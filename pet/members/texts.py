"""Texts: a table with ids, fields, and token ids that all members share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from pet.cloze.encode import token_keys
from pet.cloze.pvp import PVP
from pet.cloze.tokens import FieldKey, PlainTextTokenizer, TokenTable, tokenize_fields
from pet.data.checks import column_labels
from pet.store.folders import reserve
from pet.store.temporary import Scratch

KEEP_IN_MEMORY = 50_000  # rows; the token ids of larger tables are memory-mapped


class TokenPlan:
    """How the patterns of an ensemble tokenize the fields of a table.

    Parameters
    ----------
    pvps : all patterns; they must share one tokenizer
    """

    def __init__(self, pvps: Iterable[PVP]):
        encoders = [pvp.encoder for pvp in pvps]
        self.keys: list[FieldKey] = token_keys(encoders)
        self.plain: PlainTextTokenizer = encoders[0].plain

    def tokenize(self, table: Dataset, folder: Path | None = None) -> TokenTable:
        """Return the token ids of every field of a table, memory-mapped in a folder if one is given."""
        return tokenize_fields(table, self.keys, self.plain, folder=folder)


class Texts:
    """A table of texts.

    Parameters
    ----------
    table : columns ``id``, the task's fields, and for labeled texts ``label``
    plan : returns how to tokenize the table; called only if a member reads token ids
    tokens : token ids of the table, if they exist already

    Attributes
    ----------
    vectors : vectors of the texts by encoder; see `pet.members.shared.Shared.vectors`

    Examples
    --------
    >>> from datasets import Dataset
    >>> texts = Texts(Dataset.from_dict({"id": ["a", "b"], "text": ["one", "two"]}))
    >>> len(texts), texts.ids
    (2, ['a', 'b'])
    """

    def __init__(self, table: Dataset, plan: Callable[[], TokenPlan] | None = None, tokens: TokenTable | None = None):
        self.table = table
        self._plan = plan
        self._tokens = tokens
        self._folder: Scratch | None = None
        self.vectors: dict[str, NDArray[np.float32]] = {}

    def __len__(self) -> int:
        return len(self.table)

    @property
    def ids(self) -> list[str]:
        """The id of every row."""
        return list(self.table["id"])

    @property
    def labels(self) -> NDArray[np.int64]:
        """Gold labels as positions in the task's labels, shape (rows,)."""
        return column_labels(self.table)

    @property
    def tokens(self) -> TokenTable:
        """Token ids of the fields, computed on first use."""
        if self._tokens is None:
            if self._plan is None:
                raise ValueError("these texts have no token plan; pass `plan` or `tokens` to Texts")
            self._tokens = self._plan().tokenize(self.table, self._place())
        return self._tokens

    def _place(self) -> Path | None:
        """Return a temporary folder for the arrays of a large table; None for a small table."""
        if len(self.table) <= KEEP_IN_MEMORY:
            return None
        if self._folder is None:
            self._folder = Scratch()
        return self._folder.path

    def new_array(self, columns: int) -> NDArray[np.float32]:
        """Return a new array of shape (rows, columns), memory-mapped if the table is large."""
        place, shape = self._place(), (len(self.table), columns)
        if place is None:
            return np.empty(shape, dtype=np.float32)
        file = place / f"{len(self.vectors)}.npy"
        out = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)
        reserve(file)
        return out

    def prepare(self) -> None:
        """Make the token ids now instead of on first use."""
        _ = self.tokens

    def close(self) -> None:
        """Drop the token ids and vectors, and remove their temporary files."""
        self._tokens = None
        self.vectors.clear()
        if self._folder is not None:
            self._folder.close()
            self._folder = None
