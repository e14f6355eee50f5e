"""Texts with several labels: reading, drawing, and folds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pet.data.checks import check_tables, column_labels
from pet.data.folds import NEVER, stratified_folds
from pet.data.given_table import check_given_table
from pet.data.label_sets import LabelSets
from pet.data.memory import table_of
from pet.data.read import read_table
from pet.data.sample import sample_shots
from pet.errors import PetError
from pet.task.task import Task

LABELS = ["bug", "billing", "log in"]
TASK: dict[str, Any] = {
    "task": "tickets",
    "fields": ["text"],
    "labels": LABELS,
    "verbalizer": {"bug": "error", "billing": "money", "log in": "access"},
    "patterns": ["{text} It is about {mask}."],
}


def indicator_of(rows: list[list[str]], write_jsonl: Callable[..., Path]) -> np.ndarray[Any, Any]:
    path = write_jsonl("sets.jsonl", [{"text": f"text {i}", "label": labels} for i, labels in enumerate(rows)])
    return column_labels(read_table(str(path), ["text"], labels=LabelSets(LABELS, {}, ";")))


def test_lists_and_empty_lists_are_read(write_jsonl: Callable[..., Path]) -> None:
    assert indicator_of([["log in", "bug"], [], ["billing"]], write_jsonl).tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_cells_are_split_at_the_separator_and_may_be_empty(tmp_path: Path) -> None:
    path = tmp_path / "sets.csv"
    path.write_text("text,label\na,bug\nb,\nc,log in | billing\n")
    table = read_table(str(path), ["text"], labels=LabelSets(LABELS, {}, "|"))
    assert column_labels(table).tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 1]]


def test_a_cell_with_another_separator_names_the_line_and_the_cure(tmp_path: Path) -> None:
    path = tmp_path / "sets.csv"
    path.write_text('text,label\na,"bug,billing"\n')
    with pytest.raises(PetError, match=r'sets\.csv:2: .*label_separator: ","'):
        read_table(str(path), ["text"], labels=LabelSets(LABELS, {}, ";"))


@pytest.mark.parametrize(
    ("value", "named"),
    [(["bog"], "'bog'.*'bug'"), (None, r"missing.*\[\]"), ([["bug"]], "array"), ("[" * 100_000, r"label '\[\[")],
)
def test_other_mistakes_name_the_value(value: Any, named: str, write_jsonl: Callable[..., Path]) -> None:
    path = write_jsonl("sets.jsonl", [{"text": "a", "label": ["bug"]}, {"text": "b", "label": value}])
    with pytest.raises(PetError, match=rf"sets\.jsonl:2: .*{named}"):
        read_table(str(path), ["text"], labels=LabelSets(LABELS, {}, ";"))


def test_a_task_is_the_same_after_a_round_trip() -> None:
    task = Task.from_dict({**TASK, "multi_label": True, "label_separator": "|"})
    assert Task.from_dict(task.to_dict()) == task
    assert (task.label_separator, task.metrics) == ("|", ("micro_f1", "macro_f1"))
    assert not Task.from_dict(TASK).multi_label


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"multi_label": "perhaps"}, "true or false"),
        ({"multi_label": True, "label_separator": "and"}, "one character"),
        ({"multi_label": True, "metrics": ["mcc"]}, "micro_f1"),
    ],
)
def test_mistakes_in_the_task_file_name_the_cure(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(PetError, match=named):
        Task.from_dict({**TASK, **changes})


@pytest.fixture
def sets() -> np.ndarray[Any, Any]:
    generator = np.random.default_rng(0)
    return (generator.random((60, 4)) < [0.6, 0.3, 0.1, 0.05]).astype(np.int64)


def test_shots_are_the_least_number_of_each_label_and_larger_draws_begin_with_smaller(
    sets: np.ndarray[Any, Any],
) -> None:
    rows = sample_shots(sets, 4, shots=2, seed=0)
    assert (sets[rows].sum(axis=0) >= 2).all() and len(rows) <= 8 == 2 * 4
    few, many = (sample_shots(sets, 4, examples=count, seed=0) for count in (10, 20))
    assert many[:10].tolist() == few.tolist() and len(set(many.tolist())) == 20


def test_a_balanced_draw_has_more_of_rare_labels_than_the_data(sets: np.ndarray[Any, Any]) -> None:
    drawn, as_is = (sets[sample_shots(sets, 4, examples=16, seed=0, balanced=b)].mean(axis=0) for b in (True, False))
    assert drawn[3] > max(as_is[3], sets[:, 3].mean())


def test_folds_never_hold_out_the_only_text_of_a_label() -> None:
    sets = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 0]])
    fold = stratified_folds(sets, 2, seed=0)
    assert fold[2] == NEVER and sorted(np.bincount(fold[[0, 1, 3, 4, 5]]).tolist()) == [2, 3]


def test_checks_count_labels_and_find_texts_with_different_sets() -> None:
    table = table_of(["a", "b", "a"], ["text"], labels=np.array([[1, 1], [0, 1], [1, 0]]))
    report = check_tables(["text"], ["x", "y"], table, None, None)
    assert report.label_counts["train"] == {"x": 2, "y": 2} and report.conflicts["train"] == 1
    check_given_table(table, ["text"], 2, "train", several=True)
    with pytest.raises(PetError, match="3 labels"):
        check_given_table(table, ["text"], 3, "train", several=True)
