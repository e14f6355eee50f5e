"""Hierarchies of labels: the key of the task file, probabilities of parents, and figures on each level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pet.errors import PetError
from pet.levels import level_metrics, level_names, parent_probabilities
from pet.report.tables import format_metrics
from pet.task.task import Task

LABELS = ["bank/card", "bank/loan", "travel/visa", "other"]
TASK: dict[str, Any] = {
    "task": "intents",
    "fields": ["text"],
    "labels": LABELS,
    "hierarchy": True,
    "verbalizer": {label: f"word{number}" for number, label in enumerate(LABELS)},
    "patterns": ["{text} {mask}"],
}


def test_parents_are_read_from_labels_or_from_a_mapping() -> None:
    written = Task.from_dict(TASK)
    assert written.ancestors["bank/loan"] == ("bank",) and written.ancestors["other"] == ()
    mapped = Task.from_dict({**TASK, "hierarchy": {"money": ["bank/card", "bank/loan"]}})
    assert mapped.ancestors["bank/card"] == ("money",) and mapped.ancestors["travel/visa"] == ()
    assert [Task.from_dict(task.to_dict()) for task in (written, mapped)] == [written, mapped]
    assert Task.from_dict({**TASK, "hierarchy": False}).ancestors == {}


@pytest.mark.parametrize(
    ("hierarchy", "named"),
    [
        ({"money": ["bank/cart"]}, "unknown label 'bank/cart'.*bank/card"),
        ({"money": ["other"], "rest": ["other"]}, "'other' has the parent 'money'"),
        ({"other": ["bank/card"]}, "'other' is itself a label"),
    ],
)
def test_mistakes_name_the_label(hierarchy: dict[str, list[str]], named: str) -> None:
    with pytest.raises(PetError, match=named):
        Task.from_dict({**TASK, "hierarchy": hierarchy})


def test_labels_in_another_spelling_are_found() -> None:
    plain = {**TASK, "labels": ["1", "\u00e9", "b"], "verbalizer": {"1": "x", "\u00e9": "y", "b": "z"}}
    found = Task.from_dict({**plain, "hierarchy": {"some": ["1.0", "e\u0301"]}}).ancestors
    assert found == {"1": ("some",), "\u00e9": ("some",), "b": ()}
    with pytest.raises(PetError, match=r"'1\.0' is itself a label"):
        Task.from_dict({**plain, "hierarchy": {"1.0": ["b"]}})


def test_labels_without_parents_and_several_labels_are_refused() -> None:
    plain = {**TASK, "labels": ["a", "b"], "verbalizer": {"a": "x", "b": "y"}}
    with pytest.raises(PetError, match="parent/child"):
        Task.from_dict(plain)
    with pytest.raises(PetError, match="multi_label"):
        Task.from_dict({**TASK, "multi_label": True})


def test_probabilities_of_parents_add_up() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), size=5)
    (names,) = level_names(LABELS, Task.from_dict(TASK).ancestors)
    shares, parents = parent_probabilities(probabilities, names)
    assert parents == ["bank", "travel", "other"]
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_allclose(shares[:, 0], probabilities[:, :2].sum(axis=1))


def test_the_parent_of_the_best_label_need_not_be_the_best_parent() -> None:
    probabilities = np.array([[0.3, 0.3, 0.4, 0.0], [0.0, 0.2, 0.7, 0.1]])
    (level,) = level_metrics(probabilities, np.array([0, 3]), LABELS, Task.from_dict(TASK).ancestors)
    assert level == {"labels": 3, "accuracy": 0.5, "macro_f1": pytest.approx(1 / 3)}
    row = {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1}
    said = format_metrics({"n": 2, "accuracy": 0.5, "per_class": {"a": row}, "levels": [level]})
    assert "Level 1, 3 parents of labels: accuracy 0.500" in said
