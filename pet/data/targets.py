"""Labels given in Python: their positions in the task, and the values to return for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.data.columns import near, shorten, some
from pet.errors import PetError

_NAMED = 10  # labels named in a message


def label_text(value: Any) -> str:
    """Return a label as a task file writes it.

    Examples
    --------
    >>> label_text(1), label_text(1.0), label_text(True)
    ('1', '1', 'True')
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def label_positions(
    y: Sequence[Any], labels: Sequence[str], label_map: Mapping[str, str], name: str = "y"
) -> NDArray[np.int64]:
    """Return the position in `labels` of every value.

    Parameters
    ----------
    y : labels as text, numbers or truth values
    labels, label_map : of the task
    name : what messages call `y`

    Returns
    -------
    int64 array of shape (rows,)

    Raises
    ------
    PetError
        With every value that is not a label of the task.

    Examples
    --------
    >>> label_positions(["1", "bad"], ["bad", "good"], {"1": "good"}).tolist()
    [1, 0]
    """
    known = {label: i for i, label in enumerate(labels)}
    known |= {text: known[label] for text, label in label_map.items()}
    texts = [label_text(value) for value in y]
    strange = Counter(text for text in texts if text not in known)
    if strange:
        lines = [
            f"{name}: {shorten(text)} is not a label of the task ({count} of {len(texts)} rows)"
            f"{near(text, known)}; the labels are {some(labels)}"
            for text, count in strange.most_common(_NAMED)
        ]
        more = [f"{name}: {len(strange)} values in all are not labels"] if len(strange) > _NAMED else []
        raise PetError(lines + more)
    return np.array([known[text] for text in texts], dtype=np.int64)


def class_values(
    labels: Sequence[str],
    label_map: Mapping[str, str],
    seen: Sequence[Any] = (),
    given: Sequence[Any] = (),
) -> NDArray[Any]:
    """Return the value that predictions have for each label: the one that the user has given.

    Parameters
    ----------
    labels, label_map : of the task
    seen : the values of y; a label that always has the same value there keeps it
    given : values for all labels, in their order, if the user has named them (the keys of a verbalizer)

    Returns
    -------
    array of shape (L,), in the order of `labels`; of objects unless all are text or all are numbers
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
    """A label that is not in y, as a value of the type of those that are."""
    for text in texts:
        if kinds == {int} and text.removeprefix("-").isdecimal():
            return int(text)
        if kinds == {bool} and text in ("True", "False"):
            return text == "True"
    return texts[0]
