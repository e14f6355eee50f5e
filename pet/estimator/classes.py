"""The labels of an estimator: their order, and the numbers that scikit-learn may replace them with."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.data.label_codes import LabelCodes
from pet.data.targets import class_values, label_positions
from pet.errors import PetError
from pet.estimator.inputs import target_values
from pet.estimator.label_sets import indicator_of
from pet.task.task import Task

Array = NDArray[Any]

# In these modules of scikit-learn, only the function of `cross_val_predict` passes encoded labels to `fit`.
_KEEP_LABELS = ("sklearn.model_selection.", "sklearn.calibration")
_ENCODES = "_fit_and_predict"
_PASS_ON = ("sklearn.pipeline", "sklearn.base", "sklearn.utils")
_NAMED = 10  # numbers explained in a message
_CURE = (
    "y: to use numbers as labels, give each one a word: verbalizer={0: ..., 1: ...}, or add them to label_map in the "
    "task. If scikit-learn has replaced your labels with numbers, encode them yourself, so that every fit sees the "
    "same numbers: y = LabelEncoder().fit_transform(labels)"
)

_UNLABELED = (
    "y: -1 marks an unlabeled text in scikit-learn's semi-supervised estimators; here, remove these rows, and give "
    "their texts as unlabeled="
)


@dataclass(frozen=True)
class Targets:
    """The labels passed to `PetClassifier.fit`.

    Attributes
    ----------
    positions : int64 array of shape (n,): position of each label in the labels of the task; None without labels. If a
        text may have several, 0 or 1 for each label, shape (n, L)
    classes : array of shape (L,): the value that predictions have for each label, in the order of the task
    """

    positions: Array | None
    classes: Array


def read_targets(y: Any, task: Task, names: Sequence[Any] = ()) -> Targets:
    """Match the labels in `y` to those of a task.

    Parameters
    ----------
    y : array-like of shape (n,), or None
    task : the task
    names : the labels as the user wrote them, in the order of the task; default: as in the task

    Raises
    ------
    PetError
        If a value is not a label, or scikit-learn may have replaced labels with numbers whose meaning is ambiguous.
    """
    if task.multi_label:
        classes = class_values(task.labels, task.label_map, (), names)
        return Targets(None if y is None else indicator_of(y, task), classes)
    if y is None:
        return Targets(None, class_values(task.labels, task.label_map, (), names))
    values = target_values(y)
    codes = bool(values) and all(type(value) is int and 0 <= value < len(task.labels) for value in values)
    if codes and _may_be_encoded(y) and _are_encoded(values, task, names or task.labels):
        order = class_order(names or task.labels)
        return Targets(order[np.array(values, dtype=np.int64)], np.argsort(order))
    try:
        positions = label_positions(values, task.labels, task.label_map)
    except PetError as error:
        cure = [_CURE] if codes else [_UNLABELED] if _marks_unlabeled(values, task) else []
        raise PetError([*error.problems, *cure]) from error
    return Targets(positions, class_values(task.labels, task.label_map, values, names))


def _marks_unlabeled(values: Sequence[Any], task: Task) -> bool:
    return -1 in values and LabelCodes(task.labels, task.label_map).find("-1") is None


def class_order(classes: Sequence[Any] | Array) -> Array:
    """Return the positions that sort class values as scikit-learn does: text by code points, numbers by size.

    Raises
    ------
    PetError
        If some are text and some are numbers.

    Examples
    --------
    >>> class_order(["positive", "negative", "neutral"]).tolist()
    [1, 2, 0]
    """
    values = classes.tolist() if isinstance(classes, np.ndarray) else list(classes)
    text = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if not isinstance(value, str)]
    if text and numbers:
        raise PetError(
            f"y: labels must be all text or all numbers, but {text[0]!r} is text and {numbers[0]!r} is a number; "
            "convert them: [str(label) for label in y]"
        )
    return np.array(sorted(range(len(values)), key=values.__getitem__), dtype=np.int64)


def _may_be_encoded(y: Any) -> bool:
    """Return True if `fit` is called by a helper of scikit-learn that replaces labels with an array of numbers.

    Only the call stack shows this. The numbers themselves look like those that a user passes.
    """
    if not (isinstance(y, np.ndarray) and y.dtype.kind in "iu"):
        return False
    frame = sys._getframe().f_back
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith("sklearn.") and not module.startswith(_PASS_ON):
            return not module.startswith(_KEEP_LABELS) or frame.f_code.co_name == _ENCODES
        frame = frame.f_back
    return False


def _are_encoded(values: Sequence[int], task: Task, names: Sequence[Any]) -> bool:
    """Return True if numbers from 0 to L-1 stand for the sorted labels and not for themselves.

    scikit-learn numbers the distinct labels in `y` from 0. These are all labels of the task only if the last number is
    there. Numbers that are labels of the task must be the same label in both readings.

    Raises
    ------
    PetError
        If both readings are possible and differ.
    """
    order = class_order(names)
    sorted_labels = [task.labels[i] for i in order]
    codes = LabelCodes(task.labels, task.label_map)
    distinct = sorted(set(values))
    known = {value: position for value in distinct if (position := codes.find(str(value))) is not None}
    complete = distinct[-1] == len(task.labels) - 1
    if len(known) < len(distinct):
        if complete:
            more = ", ..." if len(sorted_labels) > _NAMED else ""
            meaning = ", ".join(f"{code} = {label!r}" for code, label in enumerate(sorted_labels[:_NAMED])) + more
            warnings.warn(
                "y has numbers, which are not labels of the task. They are read as scikit-learn's codes of the sorted "
                f"labels: {meaning}. If they mean anything else, give each a word: verbalizer={{0: ..., 1: ...}}",
                stacklevel=4,
            )
        return complete
    for value, position in known.items():
        if position != order[value]:
            raise PetError(
                f"y: {value} is {task.labels[position]!r} in the task, but {sorted_labels[value]!r} if scikit-learn "
                "has numbered your sorted labels, as this helper does. Pass the names of the labels as y, and a task "
                "that has no numbers for them: dataclasses.replace(task, label_map={})"
            )
    if not complete:
        warnings.warn(
            f"y has no {sorted_labels[-1]!r}. scikit-learn numbers only the labels in y, so its numbers are wrong for "
            "the task if another label is missing; make sure that y has all labels",
            stacklevel=4,
        )
    return False
