"""Pick rows and columns of a table.

``datasets`` hashes the arguments of each such step to find results in its cache. This package keeps nothing there, and
the hashing is slow for many row numbers, reads whole tables, and loses Ctrl-C. So each step gets a random name instead.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from datasets import Dataset


def random_fingerprint() -> str:
    """Return a name for a table that no other table has. It does not draw from any random generator with a seed."""
    return secrets.token_hex(8)


def pick_rows(table: Dataset, rows: Any) -> Dataset:
    """Return the rows with these numbers, in this order.

    Parameters
    ----------
    table : a table
    rows : row numbers: range, list or int array

    Examples
    --------
    >>> import datasets
    >>> table = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [0, 1, 0]})
    >>> pick_rows(table, [2, 0])["text"][:]
    ['c', 'a']
    """
    return table.select(rows, new_fingerprint=random_fingerprint())


def evenly_spaced(table: Dataset, most: int) -> Dataset:
    """Return at most `most` evenly spaced rows of a table.

    Examples
    --------
    >>> import datasets
    >>> evenly_spaced(datasets.Dataset.from_dict({"text": list("abcde")}), 3)["text"][:]
    ['a', 'c', 'e']
    """
    if len(table) <= most:
        return table
    return pick_rows(table, np.linspace(0, len(table) - 1, most).astype(np.int64))


class Picked:
    """Some rows of a table that are looked up only when they are picked: `pick_rows` keeps all their numbers in memory.

    Parameters
    ----------
    table : a table
    numbers : row numbers, which may be a memory map
    """

    def __init__(self, table: Dataset, numbers: Any):
        self._table, self._numbers = table, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def select(self, rows: Any, new_fingerprint: str = "") -> Dataset:
        """Return some of the rows as a table."""
        return pick_rows(self._table, self._numbers[rows])


def pick_columns(table: Dataset, names: Iterable[str]) -> Dataset:
    """Return the columns with these names.

    Examples
    --------
    >>> import datasets
    >>> table = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [0, 1, 0]})
    >>> pick_columns(table, ["label"]).column_names
    ['label']
    """
    return table.select_columns(list(names), new_fingerprint=random_fingerprint())
