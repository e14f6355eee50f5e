"""Labels given in Python: their positions in the task, and the values to return for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.data.columns import near, shorten, some
from pet.data.label_codes import LabelCodes
from pet.data.values import is_missing, is_missing_label, kind_of, label_text
from pet.errors import PetError
from pet.spelling import meaning

_NAMED = 10  # labels named in a message


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
    >>> label_positions(["1", "bad", 1.0], ["bad", "good"], {"1": "good"}).tolist()
    [1, 0, 1]
    """
    codes = LabelCodes(labels, label_map)
    refuse_no_labels(y, name)
    texts = [label_text(value) or "" for value in y]
    positions = {text: codes.find(text) for text in dict.fromkeys(texts)}
    strange = Counter(text for text in texts if positions[text] is None)
    if strange:
        lines = [
            f"{name}: {shorten(text)} is not a label of the task ({count} of {len(texts)} rows)"
            f"{' and stands for a missing one' if is_missing_label(text) else near(text, codes)}; "
            f"the labels are {some(labels)}"
            for text, count in strange.most_common(_NAMED)
        ]
        more = [f"{name}: {len(strange)} values in all are not labels"] if len(strange) > _NAMED else []
        raise PetError(lines + more)
    return np.array([positions[text] for text in texts], dtype=np.int64)


def refuse_no_labels(y: Sequence[Any], name: str = "y") -> None:
    """Refuse values that are missing or cannot be labels, such as NaN, None, lists and bytes.

    Raises
    ------
    PetError
        With the first rows of each kind.
    """
    rows: dict[str, list[int]] = {}
    for number, value in enumerate(y):
        if label_text(value) is None:
            rows.setdefault(kind_of(value), []).append(number)
    lines = []
    for kind, numbers in rows.items():
        shown = ", ".join(map(str, numbers[:_NAMED])) + (", …" if len(numbers) > _NAMED else "")
        cure = "give one label for each text"
        if is_missing(y[numbers[0]]):
            cure = "remove these rows, or give their texts as unlabeled="
        elif isinstance(y[numbers[0]], bytes):
            cure = "decode them, for example with numpy.char.decode"
        lines.append(f"{name}: {len(numbers)} of {len(y)} labels {_are(kind)} (rows counted from 0: {shown}); {cure}")
    if lines:
        raise PetError(lines)


def _are(kind: str) -> str:
    return f"are {kind}" if kind.startswith(("missing", "binary")) else f"are each {kind}"


def class_values(
    labels: Sequence[str],
    label_map: Mapping[str, str],
    seen: Sequence[Any] = (),
    given: Sequence[Any] = (),
) -> NDArray[Any]:
    """Return the value that stands for each label in predictions: the one that the user gave.

    Parameters
    ----------
    labels, label_map : of the task
    seen : the values of y; a label that always has the same value there keeps it
    given : values for all labels, in their order, if the user has named them (the keys of a verbalizer)

    Returns
    -------
    array of shape (L,), in the order of `labels`; of objects unless all are text or all are numbers
    """
    codes = LabelCodes(labels, label_map)
    spellings: list[set[Any]] = [set() for _ in labels]
    for value in dict.fromkeys(v.item() if isinstance(v, np.generic) else v for v in seen):
        position = codes.find(label_text(value) or "")
        if position is not None:
            spellings[position].add(value)
    kinds = {type(value) for values in spellings for value in values}
    chosen: list[Any] = []
    for i, label in enumerate(labels):
        found = spellings[i]
        if len(found) == 1:
            chosen.append(next(iter(found)))
        elif given and not (kinds - {type(given[i])}):
            chosen.append(given[i])
        else:
            chosen.append(_like(kinds, [label, *(text for text, to in label_map.items() if to == label)]))
    if {type(value) for value in chosen} in ({str}, {int}, {float}, {int, float}, {bool}):
        return np.array(chosen)
    array = np.empty(len(chosen), dtype=object)
    array[:] = chosen
    return array


def _like(kinds: set[type], texts: Sequence[str]) -> Any:
    """Return a label that is not in y as a value of the same type as those in y."""
    for text in map(meaning, texts):
        if kinds in ({int}, {float}) and text.removeprefix("-").isdecimal():
            return int(text) if kinds == {int} else float(text)
        if kinds == {bool} and text in ("true", "false"):
            return text == "true"
    return texts[0]
