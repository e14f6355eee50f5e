"""Levels of labels: probabilities of their parents, and figures on each level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def level_names(labels: Sequence[str], ancestors: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return the name of each label's ancestor on every level above the labels, from the top.

    A label with fewer ancestors than others stands for itself on the lower levels.

    Parameters
    ----------
    labels : of the task
    ancestors : label -> its ancestors, from the top

    Examples
    --------
    >>> level_names(["a", "b", "c"], {"a": ["x", "x/y"], "b": ["x"], "c": []})
    [['x', 'x', 'c'], ['x/y', 'b', 'c']]
    """
    depth = max((len(ancestors.get(label, ())) for label in labels), default=0)
    return [
        [ancestors[label][level] if level < len(ancestors.get(label, ())) else label for label in labels]
        for level in range(depth)
    ]


def parent_probabilities(probabilities: Array, names: Sequence[str]) -> tuple[Array, list[str]]:
    """Return the probability of each parent: the sum over its labels.

    Parameters
    ----------
    probabilities : of the labels, shape (n, L)
    names : the parent of each label

    Returns
    -------
    array of shape (n, P), and the names of the parents in the order of their first labels

    Examples
    --------
    >>> parent_probabilities(np.array([[0.25, 0.5, 0.25]]), ["money", "money", "travel"])
    (array([[0.75, 0.25]]), ['money', 'travel'])
    """
    parents = list(dict.fromkeys(names))
    places = np.array([parents.index(name) for name in names])
    member = (places[:, None] == np.arange(len(parents))).astype(np.float64)
    return probabilities @ member, parents


def level_metrics(
    probabilities: Array, gold: Array, labels: Sequence[str], ancestors: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Measure predictions on every level above the labels, from the top.

    The predicted parent is the most probable one. It need not be that of the most probable label.

    Parameters
    ----------
    probabilities, gold, labels : see `pet.evaluate.evaluate`
    ancestors : see `level_names`

    Returns
    -------
    for each level a dict with ``labels`` (how many there are), ``accuracy`` and ``macro_f1``

    Examples
    --------
    >>> shares = np.array([[0.4, 0.35, 0.25], [0.2, 0.25, 0.55]])
    >>> found = level_metrics(shares, np.array([1, 0]), ["a", "b", "c"], {"a": ["x"], "b": ["x"]})
    >>> found[0]["labels"], found[0]["accuracy"]
    (2, 0.5)
    """
    from sklearn.metrics import f1_score

    figures = []
    for names in level_names(labels, ancestors):
        shares, parents = parent_probabilities(np.asarray(probabilities, dtype=np.float64), names)
        right = np.array([parents.index(names[label]) for label in gold])
        said = shares.argmax(axis=1)
        f1 = f1_score(right, said, labels=range(len(parents)), average="macro", zero_division=0)
        figures.append({"labels": len(parents), "accuracy": float((said == right).mean()), "macro_f1": float(f1)})
    return figures
