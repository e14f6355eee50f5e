"""From the arguments of `PetClassifier` to a task and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from pet.data.memory import listed, table_of
from pet.data.targets import refuse_no_labels
from pet.data.values import kind_of, label_text
from pet.errors import PetError
from pet.recipe import make_recipe
from pet.run.settings import METHODS
from pet.settings import to_flat
from pet.task.task import Task

if TYPE_CHECKING:
    from datasets import Dataset

_TAKEN = {"verbalizer"}  # parameters of the estimator that mean something else


class InputError(PetError, ValueError):
    """A `PetError` that is also a ValueError, which scikit-learn expects of an estimator."""


@contextmanager
def as_value_error() -> Iterator[None]:
    """Raise each `PetError` as an `InputError`."""
    try:
        yield
    except InputError:
        raise
    except PetError as error:
        raise InputError(error.problems) from error


def make_task(
    task: str | Path | Task | Mapping[str, Any] | None,
    patterns: Sequence[str] | None,
    verbalizer: Mapping[Any, str | Sequence[str]] | None,
) -> Task:
    """Return the task, given in one of the ways that `PetClassifier` accepts.

    Raises
    ------
    PetError
        If there is no task, it is given twice, or it has mistakes.
    """
    if task is None:
        return _task_of_patterns(patterns, verbalizer)
    if patterns is not None or verbalizer is not None:
        raise PetError("give either task=, or patterns= and verbalizer=; a task has its own patterns")
    if isinstance(task, Task):
        return task
    return Task.from_dict(task) if isinstance(task, Mapping) else Task.load(task)


def _task_of_patterns(patterns: Sequence[str] | None, verbalizer: Mapping[Any, str | Sequence[str]] | None) -> Task:
    if patterns is None or verbalizer is None:
        raise PetError(
            "no task given; pass task=, or patterns=['{text} It was {mask}.', ...] with verbalizer={label: word, ...}"
        )
    if not isinstance(verbalizer, Mapping):
        raise PetError(f"verbalizer is a {type(verbalizer).__name__}; give a mapping: {{label: word, ...}}")
    words: dict[str, Any] = {}
    for label, given in verbalizer.items():
        text = label_text(label)
        if text is None:
            raise PetError(f"verbalizer: the label {label!r} is {kind_of(label)}; use texts, numbers or booleans")
        words[text] = _plain_list(given)
    if len(words) < len(verbalizer):
        raise PetError("verbalizer: two labels have the same text, such as 1 and '1'; remove one")
    templates = [patterns] if isinstance(patterns, str) else _plain_list(patterns)
    mapping = {"task": "texts", "fields": ["text"], "labels": list(words)}
    return Task.from_dict({**mapping, "verbalizer": words, "patterns": templates})


def _plain_list(given: Any) -> Any:
    """Return an array, a Series or a tuple as a list. `Task.from_dict` refuses what is none of these."""
    return list(given) if hasattr(given, "__iter__") and not isinstance(given, (str, Mapping)) else given


@cache
def setting_names() -> frozenset[str]:
    """Return the names of the settings that can be parameters of their own."""
    return frozenset(to_flat(make_recipe())) - _TAKEN


def plain_settings(
    settings: Mapping[str, Any] | None, task: Task, hyperparameters: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return settings in plain values: a class ratio may be a mapping of label to share or count.

    Parameters
    ----------
    settings : the parameter ``settings``
    task : names the labels
    hyperparameters : settings that are parameters of their own

    Raises
    ------
    PetError
        If `settings` is no mapping, or a setting is in both, with different values.

    Examples
    --------
    >>> task = _task_of_patterns(["{text} {mask}"], {0: "bad", 1: "good"})
    >>> plain_settings({"steps": 5, "prior": {1: 3, 0: 1}}, task)
    {'steps': 5, 'prior': '1,3'}
    """
    if settings is not None and not isinstance(settings, Mapping):
        raise PetError(f'settings is a {type(settings).__name__}; give a mapping such as {{"steps": 100}}')
    values, own = dict(settings or {}), dict(hyperparameters or {})
    if twice := [name for name in own if name in values and values[name] != own[name]]:
        name = twice[0]
        raise PetError(f"{name} is {own[name]!r} as a parameter, and {values[name]!r} in settings=; give one of them")
    values |= own
    if isinstance(values.get("prior"), Mapping):
        shares = {str(label_text(label)): f"{share}" for label, share in values["prior"].items()}
        if set(shares) == set(task.labels):
            values["prior"] = ",".join(shares[label] for label in task.labels)
        else:  # in other spellings, or with mistakes
            values["prior"] = ",".join(f"{label}:{share}" for label, share in shares.items())
    return values


def target_values(y: Any) -> list[Any]:
    """Return the labels as a list of Python objects.

    Parameters
    ----------
    y : list, array, Series or Arrow array of labels, or a table of one column

    Raises
    ------
    ValueError
        From scikit-learn, if `y` has the wrong shape, or holds numbers that are not whole.
    PetError
        If labels are missing, or are not single values.
    """
    if isinstance(y, (str, bytes, Mapping, set, frozenset)) or not (hasattr(y, "__iter__") or hasattr(y, "__array__")):
        raise PetError(f"y is a {type(y).__name__}; give a list of labels, one for each text")
    is_array = isinstance(y, np.ndarray) or not hasattr(y, "__iter__") or getattr(y, "ndim", 1) != 1
    if is_array and not isinstance(y, np.ma.MaskedArray):  # scikit-learn would ignore the mask
        y = column_or_1d(y, warn=True)
    values = listed(y)
    refuse_no_labels(values)
    if numbers := [value for value in values if isinstance(value, float)]:
        check_classification_targets(np.asarray(numbers))
    return values


def fit_tables(
    method: str, task: Task, X: Any, labels: NDArray[Any] | None, unlabeled: Any, *, primes: bool
) -> dict[str, Dataset]:
    """Return the tables for a run.

    Parameters
    ----------
    method : one of `pet.run.settings.METHODS`
    task : the task
    X, unlabeled : arguments of `PetClassifier.fit`
    labels : positions of the labels of `X`, or None
    primes : whether ``zero-shot`` puts labeled texts before others

    Raises
    ------
    PetError
        If texts or labels are missing or invalid.
    """
    if method not in METHODS:
        raise PetError(f"unknown method {method!r}; methods are {', '.join(METHODS)}")
    if method == "ipet" and labels is None:
        return {"unlabeled": _only_pool(task, X, unlabeled)}
    trains = method != "zero-shot"
    if labels is None and trains:
        raise PetError(f"method {method!r} requires y to be passed, but the target y is None")
    if method == "pcp" and unlabeled is None:
        raise PetError("method 'pcp' requires unlabeled texts, on which it pretrains the model; pass unlabeled=")
    tables: dict[str, Dataset] = {}
    if X is not None or trains:
        # Checked even if the method does not use them.
        texts = table_of(X, task.fields, labels=labels, columns=task.columns)
        if trains or (primes and labels is not None):
            tables["train"] = texts
    if unlabeled is not None and method != "supervised":
        tables["unlabeled"] = table_of(unlabeled, task.fields, name="unlabeled", columns=task.columns)
    return tables


def _only_pool(task: Task, X: Any, unlabeled: Any) -> Dataset:
    """Return the pool of a fit without labels, which may be given as `X` or as `unlabeled`."""
    if X is not None and unlabeled is not None:
        raise PetError("X has texts, but there is no y; pass y, or pass all texts as unlabeled=")
    if X is None and unlabeled is None:
        raise PetError("method 'ipet' requires unlabeled texts, which members label for each other; pass unlabeled=")
    texts, name = (unlabeled, "unlabeled") if X is None else (X, "X")
    return table_of(texts, task.fields, name=name, columns=task.columns)
