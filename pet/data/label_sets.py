"""Which labels of the task a value in the data stands for, if a text may have several."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from pet.data.label_codes import LabelCodes
from pet.data.values import kind_of, label_text
from pet.task.task import Task

_SEPARATORS = ",;|/ "


def json_list(text: str) -> list[str] | None:
    """Return the labels of a cell that is a list in JSON, as this package writes it; None for another cell.

    Examples
    --------
    >>> json_list('["bug", "login"]'), json_list("bug;login")
    (['bug', 'login'], None)
    """
    if text.startswith("["):
        with suppress(ValueError, RecursionError):
            return list(map(str, json.loads(text)))
    return None


def cell_parts(text: str, separator: str) -> list[str]:
    """Return the labels of a cell with a separator between them.

    Examples
    --------
    >>> cell_parts("bug; login;", ";")
    ['bug', 'login']
    """
    return [part.strip() for part in text.split(separator) if part.strip()]


class UnknownLabel(ValueError):
    """A text that is not a label of the task."""


class LabelSets:
    """Finds the labels of a text: a list of labels, or one text with a separator between them.

    Parameters
    ----------
    labels, label_map : see `pet.data.label_codes.LabelCodes`
    separator : character between the labels of a text

    Examples
    --------
    >>> sets = LabelSets(["bug", "billing"], {}, ";")
    >>> sets.indicator(["bug"]), sets.indicator("billing; bug"), sets.indicator("")
    ([1, 0], [1, 1], [0, 0])
    """

    def __init__(self, labels: Sequence[str], label_map: Mapping[str, str], separator: str):
        self._codes = LabelCodes(labels, label_map)
        self._count = len(labels)
        self._separator = separator

    def __iter__(self) -> Iterator[str]:
        return iter(self._codes)

    def __len__(self) -> int:
        """Return the number of labels."""
        return self._count

    def indicator(self, value: Any) -> list[int]:
        """Return 1 for each label that the value names, and 0 for the others.

        Parameters
        ----------
        value : a list of labels, or a text; an empty list or text stands for no label

        Raises
        ------
        UnknownLabel
            With the first text that is not a label.
        ValueError
            With what else is wrong with the value, and the cure.
        """
        found = [0] * self._count
        for text in self._parts(value):
            position = self._codes.find(text)
            if position is None:
                self._refuse(text)
            else:
                found[position] = 1
        return found

    def _parts(self, value: Any) -> list[str]:
        """Return the labels that a value names, as texts."""
        if isinstance(value, (list, tuple, np.ndarray)):
            texts = []
            for entry in value:
                text = label_text(entry)
                if text is None:
                    raise ValueError(f"label contains {kind_of(entry)}; write a list of labels, {self._example}")
                texts.append(text)
            return texts
        text = label_text(value)
        if text is None:
            raise ValueError(f"label is {kind_of(value)}; write a list of labels, {self._example}, or [] for none")
        if self._codes.find(text) is not None:
            return [text]
        listed = json_list(text.strip())
        if listed is not None:
            return listed
        parts = [part for part in text.split(self._separator) if part.strip()]
        return [part if self._codes.find(part) is not None else part.strip() for part in parts]

    def _refuse(self, text: str) -> None:
        """Raise the error for a text that is not a label; suggest another separator if it would make labels."""
        for separator in _SEPARATORS:
            parts = [part.strip() for part in text.split(separator)]
            if len(parts) > 1 and all(self._codes.find(part) is not None for part in parts):
                raise ValueError(
                    f"labels are separated by {separator!r} here, not by {self._separator!r}; write "
                    f'`label_separator: "{separator}"` in the task file'
                )
        raise UnknownLabel(text)

    @property
    def _example(self) -> str:
        return f'such as ["{next(iter(self._codes))}"]'


def labels_of(task: Task) -> Sequence[str] | LabelSets:
    """Return the labels of a task, for `pet.data.read.read_table`; if a text may have several, as `LabelSets`."""
    if not task.multi_label:
        return list(task.labels)
    return LabelSets(task.labels, task.label_map, task.label_separator)


def label_reader(
    labels: Sequence[str] | LabelSets | None, label_map: Mapping[str, str]
) -> LabelCodes | LabelSets | None:
    """Return what reads the labels of a table; None if it has none to read."""
    return labels if labels is None or isinstance(labels, LabelSets) else LabelCodes(labels, label_map)
