"""The labels passed to an estimator if a text may have several."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.data.columns import label_mistake, near, some
from pet.data.label_codes import LabelCodes
from pet.data.label_sets import LabelSets, UnknownLabel
from pet.data.memory import listed
from pet.errors import PetError
from pet.task.task import Task

Array = NDArray[Any]
_NAMED = 10  # mistakes named in a message


def indicator_of(y: Any, task: Task) -> Array:
    """Return 1 for each label of each text, and 0 for the others.

    Parameters
    ----------
    y : an array or a sparse matrix of 0 and 1 with a column for each label, in the order of the task; a data frame of 0
        and 1 with the names of the labels; or a list with the labels of each text
    task : the task

    Returns
    -------
    int64 array of shape (n, L)

    Raises
    ------
    PetError
        With every mistake: one message for each, with its row.

    Examples
    --------
    >>> task = Task.from_dict(
    ...     {
    ...         "task": "tickets",
    ...         "fields": ["text"],
    ...         "labels": ["bug", "billing"],
    ...         "multi_label": True,
    ...         "verbalizer": {"bug": "error", "billing": "money"},
    ...         "patterns": ["{text} {mask}"],
    ...     }
    ... )
    >>> indicator_of([["billing"], []], task).tolist(), indicator_of(np.array([[1, 1]]), task).tolist()
    ([[0, 1], [0, 0]], [[1, 1]])
    """
    if hasattr(y, "toarray"):  # sparse
        y = y.toarray()
    if hasattr(y, "columns"):
        return _checked(_frame(y, task), task)
    if isinstance(y, np.ndarray) and y.ndim == 2:
        return _checked(y, task)
    return _of_lists(y, task)


def _frame(frame: Any, task: Task) -> Array:
    """Return the columns of a data frame in the order of the labels."""
    codes = LabelCodes(task.labels, task.label_map)
    names = [str(column) for column in frame.columns]
    places = [codes.find(name) for name in names]
    strange = [name for name, place in zip(names, places, strict=True) if place is None]
    missing = [label for number, label in enumerate(task.labels) if number not in places]
    problems = [f"y: column {name!r} is not a label of the task{near(name, codes)}" for name in strange[:_NAMED]]
    if missing:
        problems.append(f"y: has no column for {some(missing)}; give one for each label, with 0 and 1")
    if len(set(places)) < len(places) and not strange:
        problems.append("y: two columns stand for the same label; remove one")
    if problems:
        raise PetError(problems)
    values = frame.to_numpy()
    return np.asarray(values[:, [places.index(number) for number in range(len(task.labels))]])


def _checked(values: Array, task: Task) -> Array:
    """Return an array of 0 and 1 as integers."""
    if values.shape[1] != len(task.labels):
        raise PetError(
            f"y has {values.shape[1]} columns, and the task {len(task.labels)} labels; give one for each of "
            f"{some(task.labels)}, in this order"
        )
    if values.dtype.kind in "biuf":
        wrong = ~np.isin(values, [0, 1])
    else:
        wrong = np.array([not _is_flag(value) for value in values.flat], dtype=bool).reshape(values.shape)
    if wrong.any():
        row, column = map(int, np.argwhere(wrong)[0])
        raise PetError(
            f"y: row {row} (counted from 0) has {values[row, column]!r} for {task.labels[column]!r}; write 1 if the "
            "label applies, else 0"
        )
    return values.astype(np.int64)


def _is_flag(value: Any) -> bool:
    """Return True for 0, 1 and truth values in an array of objects, which nullable or mixed columns of pandas give."""
    return isinstance(value, (int, float, np.number, np.bool_)) and value in (0, 1)


def _of_lists(y: Any, task: Task) -> Array:
    """Return the indicator of lists of labels."""
    if isinstance(y, (str, bytes)) or not hasattr(y, "__iter__"):
        raise PetError(f"y is a {type(y).__name__}; give the labels of each text, or an array of 0 and 1")
    sets, rows, problems = LabelSets(task.labels, task.label_map, task.label_separator), [], []
    for number, value in enumerate(listed(y)):
        try:
            rows.append(sets.indicator(sorted(value) if isinstance(value, Set) else value))
        except UnknownLabel as error:
            problems.append(f"y: row {number} (counted from 0): {label_mistake(str(error), sets)}")
        except ValueError as error:
            problems.append(f"y: row {number} (counted from 0): {error}")
    if problems:
        more = [f"y: {len(problems)} rows have mistakes"] if len(problems) > _NAMED else []
        raise PetError(problems[:_NAMED] + more)
    return np.array(rows, dtype=np.int64).reshape(len(rows), len(task.labels))
