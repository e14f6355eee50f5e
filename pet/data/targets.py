"""Labels that are given in Python: their positions in the task, and how they are written back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.data.columns import near, shorten, some
from pet.errors import PetError

_NAMED = 10  # labels in a message


def label_text(value: Any) -> str:
    """A label as a task file writes it: 1, 1.0 and ``numpy.int64(1)`` are all "1"."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def label_positions(
    y: Sequence[Any], labels: Sequence[str], label_map: Mapping[str, str], name: str = "y"
) -> NDArray[np.int64]:
    """Position in `labels` of every value.

    Parameters
    ----------
    y : labels as text, numbers or truth values
    labels, label_map : those of the task
    name : what messages call `y`

    Returns
    -------
    int64 array of shape (rows,)

    Raises
    ------
    PetError
        With every value that is no label of the task.
    """
    known = {label: i for i, label in enumerate(labels)}
    known |= {text: known[label] for text, label in label_map.items()}
    texts = [label_text(value) for value in y]
    strange = Counter(text for text in texts if text not in known)
    if strange:
        lines = [
            f"{name}: {shorten(text)} is no label of the task ({count} of {len(texts)} rows)"
            f"{near(text, known)}; there are {some(labels)}"
            for text, count in strange.most_common(_NAMED)
        ]
        more = [f"{name}: {len(strange)} values in all are no labels"] if len(strange) > _NAMED else []
        raise PetError(lines + more)
    return np.array([known[text] for text in texts], dtype=np.int64)


def class_values(
    labels: Sequence[str],
    label_map: Mapping[str, str],
    seen: Sequence[Any] = (),
    given: Sequence[Any] = (),
) -> NDArray[Any]:
    """What a prediction says for each label: the value that the user has for it.

    Parameters
    ----------
    labels, label_map : those of the task
    seen : the values of y; a label that y writes in one way is written so
    given : values for all labels, in their order, if the user has named them (the keys of a verbalizer)

    Returns
    -------
    array of shape (L,), in the order of `labels`; of text or numbers if all are, else of objects
    """
    spellings: dict[str, set[Any]] = {label: set() for label in labels}
    for value in dict.fromkeys(v.item() if isinstance(v, np.generic) else v for v in seen):
        text = label_text(value)
        spellings[label_map.get(text, text)].add(value)
    kinds = {type(value) for values in spellings.values() for value in values}
    chosen: list[Any] = []
    for i, label in enumerate(labels):
        found = spellings[label]
        if len(found) == 1:
            chosen.append(next(iter(found)))
        elif given and not (kinds - {type(given[i])}):
            chosen.append(given[i])
        else:
            chosen.append(_like(kinds, [label, *(text for text, to in label_map.items() if to == label)]))
    if {type(value) for value in chosen} in ({str}, {int}, {bool}):
        return np.array(chosen)
    array = np.empty(len(chosen), dtype=object)
    array[:] = chosen
    return array


def _like(kinds: set[type], texts: Sequence[str]) -> Any:
    """A label that y does not have, as a value of the kind of those that it has."""
    for text in texts:
        if kinds == {int} and text.removeprefix("-").isdecimal():
            return int(text)
        if kinds == {bool} and text in ("True", "False"):
            return text == "True"
    return texts[0]
