"""Metrics of texts that are judged in groups, such as all answers to one question."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pet.data.checks import text_keys
from pet.data.pick import pick_columns
from pet.statistics import wilson
from pet.task.group import Group

if TYPE_CHECKING:
    from datasets import Dataset

_ARTICLES = re.compile(r"\b(a|an|the)\b")


@dataclass(frozen=True)
class Groups:
    """The groups of a table.

    Attributes
    ----------
    numbers : int array of shape (rows,); rows with the same number are a group
    right : position of the label of right answers
    choose_one : predict one row of each group as right; otherwise any number
    texts : the answer of each row; empty if they are not compared
    """

    numbers: NDArray[Any]
    right: int
    choose_one: bool = False
    texts: Sequence[str] = ()

    def take(self, rows: NDArray[np.bool_]) -> Groups:
        """Return the groups of some rows, given by a mask."""
        texts = [text for text, chosen in zip(self.texts, rows, strict=True) if chosen] if self.texts else ()
        return replace(self, numbers=self.numbers[rows], texts=texts)


def groups_of(group: Group | None, labels: Sequence[str], tables: Sequence[Dataset]) -> Groups | None:
    """Return the groups of one or more tables with the fields of a task, or None if the task has no groups."""
    if group is None:
        return None
    keys = np.concatenate([text_keys(table, group.by) for table in tables])
    texts = [text for table in tables for text in pick_columns(table, [group.text])[group.text]] if group.text else ()
    return Groups(np.unique(keys, return_inverse=True)[1], list(labels).index(group.right), group.choose_one, texts)


def group_metrics(probabilities: NDArray[Any], gold: NDArray[Any], groups: Groups) -> dict[str, Any]:
    """Measure predictions in groups, as SuperGLUE does for MultiRC and ReCoRD (arXiv 1905.00537).

    Parameters
    ----------
    probabilities : float array of shape (rows, L)
    gold : int array of shape (rows,)
    groups : of the same rows

    Returns
    -------
    dict
        - ``groups``: number of groups
        - ``f1a``: F1 of the label of right answers, over all rows
        - ``em``: share of groups whose answers are all predicted correctly or, if one answer of each group is chosen,
          whose chosen answer is right; ``em_interval``: its 95% interval
        - ``token_f1``: mean overlap (F1 of the words) of the chosen answer with the right answer that is most similar;
          only if the answers are compared

    Examples
    --------
    >>> groups = Groups(np.array([0, 0, 1]), right=1)
    >>> group_metrics(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), np.array([0, 1, 1]), groups)
    {'groups': 2, 'f1a': 0.6666666666666666, 'em': 0.5, 'em_interval': [0.094..., 0.905...]}
    """
    right = gold == groups.right
    predicted = _chosen(probabilities[:, groups.right], groups) if groups.choose_one else None
    if predicted is None:
        predicted = probabilities.argmax(axis=1) == groups.right
    numbers = np.unique(groups.numbers, return_inverse=True)[1]
    count = int(numbers.max()) + 1
    if groups.choose_one:
        exact = np.bincount(numbers, right & predicted, count) > 0
    else:
        exact = np.bincount(numbers, right != predicted, count) == 0
    claimed = int(right.sum() + predicted.sum())
    found: dict[str, Any] = {
        "groups": count,
        "f1a": float(2 * (right & predicted).sum() / claimed) if claimed else 0.0,
        "em": float(exact.mean()),
        "em_interval": list(wilson(int(exact.sum()), count)),
    }
    if groups.texts:
        overlaps = np.zeros(count)
        answers: list[list[str]] = [[] for _ in range(count)]
        for row in np.flatnonzero(right).tolist():
            answers[numbers[row]].append(groups.texts[row])
        for row in np.flatnonzero(predicted).tolist():
            overlaps[numbers[row]] = max(
                (token_f1(groups.texts[row], answer) for answer in answers[numbers[row]]), default=0.0
            )
        found["token_f1"] = float(overlaps.mean())
    return found


def _chosen(scores: NDArray[Any], groups: Groups) -> NDArray[np.bool_]:
    """Return which rows have the highest score of their group; of equal ones, the first."""
    order = np.lexsort((np.arange(len(scores)), -scores, groups.numbers))
    _, first = np.unique(groups.numbers[order], return_index=True)
    chosen = np.zeros(len(scores), dtype=bool)
    chosen[order[first]] = True
    return chosen


def token_f1(text: str, other: str) -> float:
    """Return the F1 of the words that two texts share, without case, punctuation and English articles.

    Examples
    --------
    >>> token_f1("The West Brom.", "west bromwich albion")
    0.4
    """
    words, others = Counter(_words(text)), Counter(_words(other))
    shared = sum((words & others).values())
    return 2 * shared / (words.total() + others.total()) if shared else float(words == others)


def _words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.casefold().translate(str.maketrans("", "", string.punctuation))).split()
