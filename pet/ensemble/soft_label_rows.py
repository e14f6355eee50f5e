"""What a row of soft labels says: probabilities, a label alone, or both, which must agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pet.data.columns import shorten, some
from pet.data.values import is_missing, is_missing_label, kind_of, label_text
from pet.spelling import Names, match_all
from pet.suggest import suggest

ROUNDING = 1e-3  # error of a probability, and of the sum of a row's probabilities
NO_ID = "`id` must be a text or a whole number"
TWICE = "the id {id} appears more than once; ids must be unique"
NOT_NUMBERS = "`probabilities` must be {width} numbers from 0 to 1, one for each label"
NOT_ONE = "the probabilities add up to {total:.4f}; they must add up to 1"
NO_PROBABILITIES = "has no probabilities; add the probability of each label, or remove the row"
NOTHING = "has neither `probabilities` nor a `label`; add one of them, or remove the row"
LOGITS = (
    "has `logits`, which are not read, and no probabilities; write `probabilities` (their softmax), or remove `logits` "
    "to take the label as certain"
)


def contradiction(row_id: str, label: str, likely: str, probability: float) -> str:
    """Return the message for a label that is not the most probable one."""
    return (
        f"the label is {shorten(label)}, but the most probable label is {shorten(likely)} ({probability:.3f}), at id "
        f"{shorten(row_id)}; correct one of them: empty the probabilities of this row to take its label as certain, or "
        "remove the column `label` to use the probabilities"
    )


def unknown_label(text: str, order: Sequence[str]) -> str:
    """Return the message for a label that has no probability."""
    return (
        f"label {shorten(text)} is not one of the labels {some(order)}; {suggest(text, order)}; correct it, or remove "
        "the column `label`"
    )


def other_labels(given: Iterable[str], order: Iterable[str]) -> str:
    """Return the message for probabilities of other labels."""
    given, order = list(given), list(order)
    parts = [f"lacks {some(sorted(set(order) - set(given)))}"] if set(order) - set(given) else []
    parts += [f"also has {some(sorted(set(given) - set(order)))}"] if set(given) - set(order) else []
    return f"its labels are not {some(order)}: it {' and '.join(parts)}; name the task that it was made for"


class Contradiction(ValueError):
    """A label that is not the most probable one."""


class RowReader:
    """Reads probabilities and labels of single rows.

    Parameters
    ----------
    order : sequence of str
        The labels, in the order of the probabilities.
    independent : bool
        A text may have any number of labels: probabilities need not add up to 1, and there is no single label.
    """

    def __init__(self, order: Sequence[str], *, independent: bool = False):
        self.order = list(order)
        self.independent = independent
        self._places = {label: place for place, label in enumerate(self.order)}
        self._names = Names(self.order)

    def place(self, text: str) -> int | None:
        """Return the position of a label in any spelling; None if there is no such label."""
        found = self._names.find(text)
        return None if found is None else self._places[found]

    def read(self, row_id: str, probabilities: Any, label: Any) -> tuple[list[float], bool]:
        """Return the probabilities of a row, and whether they come from its label alone.

        Parameters
        ----------
        row_id : for messages
        probabilities : a list, a mapping of label to number, or nothing
        label : a label, the position of a label if there are probabilities as well, or nothing

        Raises
        ------
        ValueError
            With what is wrong with the row.

        Examples
        --------
        >>> rows = RowReader(["bad", "good"])
        >>> rows.read("r1", {"good": 0.75, "bad": 0.25}, "good"), rows.read("r2", None, "good")
        (([0.25, 0.75], False), ([0.0, 1.0], True))
        """
        if self.independent:
            if is_empty(probabilities):
                raise ValueError(NO_PROBABILITIES)
            return self._numbers(probabilities), False
        text = label_of(label)
        if text is not None and is_missing_label(text) and self.place(text) is None:
            text = None  # how programs write a missing label
        if is_empty(probabilities):
            if text is None:
                raise ValueError(NOTHING)
            place = self.place(text)
            if place is None:
                raise ValueError(unknown_label(text, self.order))
            return [float(number == place) for number in range(len(self.order))], True
        values = self._numbers(probabilities)
        if text is not None:
            self._compare(row_id, values, text)
        return values, False

    def _numbers(self, given: Any) -> list[float]:
        if isinstance(given, Mapping):
            if given.keys() != self._places.keys():
                given = self._renamed(given)
            given = [given[label] for label in self.order]
        width = len(self.order)
        if not isinstance(given, list) or len(given) != width:
            raise ValueError(NOT_NUMBERS.format(width=width))
        if any(type(p) not in (float, int) or not 0 <= p <= 1 for p in given):
            raise ValueError(NOT_NUMBERS.format(width=width))
        total = sum(given)
        if not self.independent and abs(total - 1) > ROUNDING:
            raise ValueError(NOT_ONE.format(total=total))
        return given

    def _renamed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the same numbers with the labels spelled as in `order`."""
        names = list(given)
        places = match_all(names, self.order)
        if places is None:
            raise ValueError(other_labels(given, self.order))
        return {label: given[names[place]] for label, place in zip(self.order, places, strict=True)}

    def _compare(self, row_id: str, values: list[float], text: str) -> None:
        place = self.place(text)
        if place is None:
            place = position(text, len(values))
        if place is None:
            raise ValueError(unknown_label(text, self.order))
        highest = max(values)
        if values[place] < highest - ROUNDING:
            raise Contradiction(contradiction(row_id, text, self.order[values.index(highest)], highest))


def position(text: str, width: int) -> int | None:
    """Return a number in a text as the position of a label; None if it is not one."""
    return int(text) if text.isdecimal() and len(text) < 10 and int(text) < width else None


def label_of(value: Any) -> str | None:
    """Return the label of a row as text; None if it has none."""
    if is_missing(value):
        return None
    text = label_text(value)
    if text is None:
        raise ValueError(f"`label` is {kind_of(value)}; it must be a text")
    return text if text.strip() else None


def is_empty(probabilities: Any) -> bool:
    """Return True if there are no probabilities: null, an empty list or mapping, or only nulls."""
    values = probabilities.values() if isinstance(probabilities, Mapping) else probabilities
    if isinstance(values, str):
        return not values.strip()
    return is_missing(values) or (hasattr(values, "__iter__") and all(value is None for value in values))
