"""A column of a table that is read one slice at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pet.data.pick import pick_columns

if TYPE_CHECKING:
    from datasets import Dataset


class LazyColumn:
    """A column of a data set. ``column[a:b]`` reads these rows only, which keeps memory constant.

    Examples
    --------
    >>> import datasets
    >>> LazyColumn(datasets.Dataset.from_dict({"id": ["a", "b", "c"]}), "id")[1:]
    ['b', 'c']
    """

    def __init__(self, table: Dataset, name: str):
        self._table = pick_columns(table, [name])
        self._name = name

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, rows: slice) -> list[Any]:
        values: list[Any] = self._table[rows][self._name]
        return values
