"""Metrics of texts that are judged in groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from pet.errors import PetError
from pet.evaluate import evaluate
from pet.groups import Groups, group_metrics, groups_of, token_f1
from pet.report.tables import format_metrics, headline, summarize
from pet.task.group import Group
from pet.task.task import Task

# Two questions with two and three answers. Predicted right: 1, 3. Right: 1, 2, 3.
SCORES = np.array([[0.7, 0.3], [0.2, 0.8], [0.6, 0.4], [0.1, 0.9], [0.9, 0.1]])
GOLD = np.array([0, 1, 1, 1, 0])
NUMBERS = np.array([7, 7, 2, 2, 2])


def test_any_number_of_answers_may_be_right() -> None:
    found = group_metrics(SCORES, GOLD, Groups(NUMBERS, right=1))
    ends = [pytest.approx(0.0945, abs=1e-4), pytest.approx(0.9055, abs=1e-4)]
    assert found == {"groups": 2, "f1a": pytest.approx(0.8), "em": 0.5, "em_interval": ends}


def test_one_answer_of_each_group_is_chosen_however_low_its_probability() -> None:
    scores = SCORES * [1, 0.5]
    groups = Groups(NUMBERS, 1, choose_one=True, texts=["x", "Ann", "the Bob Lee", "Eve", "y"])
    found = group_metrics(scores, GOLD, groups)
    assert (found["groups"], found["f1a"], found["em"], found["token_f1"]) == (2, pytest.approx(0.8), 1.0, 1.0)
    wrong = scores.copy()
    wrong[4, 1], gold = 0.99, np.array([0, 1, 1, 0, 0])
    texts = ["x", "Ann", "the Bob Lee", "Eve", "Bob"]
    found = group_metrics(wrong, gold, Groups(NUMBERS, 1, choose_one=True, texts=texts))
    assert (found["em"], found["token_f1"]) == (0.5, pytest.approx((1 + 2 / 3) / 2))


def test_of_equal_answers_the_first_is_chosen_and_a_group_without_right_answer_counts_as_missed() -> None:
    even = np.full((3, 2), 0.5)
    groups = Groups(np.array([0, 0, 1]), 1, choose_one=True, texts=["a1", "b1", "c1"])
    found = group_metrics(even, np.array([1, 0, 0]), groups)
    assert (found["em"], found["token_f1"]) == (0.5, 0.5)


def test_token_f1_ignores_case_punctuation_and_articles() -> None:
    assert token_f1("The U.S. Navy", "us navy") == 1.0
    assert token_f1("Navy", "Army") == 0.0


def test_groups_share_the_values_of_fields_across_tables() -> None:
    group = Group(("question",), "yes", choose_one=True, text="answer")
    first = Dataset.from_dict({"question": ["q", "r"], "answer": ["a", "b"]})
    second = Dataset.from_dict({"question": ["r", "s"], "answer": ["c", "d"]})
    groups = groups_of(group, ["no", "yes"], [first, second])
    assert groups is not None and groups.right == 1 and list(groups.texts) == ["a", "b", "c", "d"]
    assert groups.numbers[1] == groups.numbers[2] and len(set(groups.numbers.tolist())) == 3
    taken = groups.take(np.array([True, False, False, True]))
    assert list(taken.texts) == ["a", "d"] and len(taken.numbers) == 2
    assert groups_of(None, ["no", "yes"], [first]) is None


def test_metrics_of_groups_are_shown_beside_the_others() -> None:
    found = evaluate(SCORES, GOLD, ["no", "yes"], Groups(NUMBERS, right=1))
    assert found["accuracy"] == pytest.approx(0.8)
    assert "F1a 0.800" in format_metrics(found) and "EM 0.500" in format_metrics(found)
    assert list(headline(["f1a", "em"]).values())[:3] == ["F1a", "EM", "accuracy"]
    assert summarize([found])["em"]["mean"] == 0.5
    assert "F1a" not in format_metrics(evaluate(SCORES, GOLD, ["no", "yes"]))


TASK = """\
task: answers
fields: [question, answer]
labels: [bad, good]
metrics: [em, token_f1]
group: {by: [question], right: good, choose: one, text: answer}
verbalizer: {bad: "no", good: "yes"}
patterns: ["{question} {answer}? {mask}."]
"""


def test_a_task_file_states_its_groups(tmp_path: Path) -> None:
    path = tmp_path / "answers.yaml"
    path.write_text(TASK)
    assert Task.load(path).group == Group(("question",), "good", True, "answer")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("group: {by: [question], right: good, choose: one, text: answer}\n", "", ":4"),
        ("by: [question]", "by: [body]", "body"),
        ("by: [question], ", "", "by"),
        ("right: good", "right: best", "bad, good"),
        ("choose: one", "choose: two", "two"),
        ("choose: one, ", "", "choose"),
        ("metrics: [em, token_f1]", "multi_label: true", "multi_label"),
    ],
)
def test_mistakes_in_groups_are_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    path = tmp_path / "answers.yaml"
    path.write_text(TASK.replace(old, new))
    with pytest.raises(PetError) as caught:
        Task.load(path)
    assert named in str(caught.value) and "answers.yaml:" in str(caught.value)
