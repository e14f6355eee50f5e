"""A student that is clearly worse than its soft labels is trained again."""

from __future__ import annotations

import io
from pathlib import Path

import datasets
import numpy as np
import pytest
from tiny_text import news_rows

from pet.numerics import softmax
from pet.progress import Reporter
from pet.recipe import make_recipe
from pet.student.bias import shift_scores
from pet.student.classifier import TextInput, new_classifier
from pet.student.distill import Distillation
from pet.student.rounds import fit_student
from pet.task.grammar import parse_template
from pet.training.device import Accelerator
from pet.training.loop import Schedule

INPUT = TextInput(("text",), parse_template("{text}", ["text"], mask=False))
TABLE = datasets.Dataset.from_list([{"text": row["text"]} for row in news_rows()])


def trained(folder: Path, targets: np.ndarray, accelerator: Accelerator, rounds: int) -> tuple[int, str]:
    """Train for one update a round, too little to change a label; return the rounds and the messages."""
    classifier = new_classifier(str(folder), INPUT, ("a", "b", "c"), 48, seed=0)
    how = Distillation(Schedule(1, 1e-9), 4, temperature=2.0, seed=0, rounds=rounds)
    shown = io.StringIO()
    losses = fit_student(classifier, TABLE, targets, how, accelerator, Reporter("plain", shown))
    return len(losses), shown.getvalue()


def test_a_weak_student_is_trained_again_and_a_good_one_is_not(tiny_model: Path, accelerator: Accelerator) -> None:
    sure = np.eye(3)[np.arange(len(TABLE)) % 3]  # a student without training is right about one text in three
    rounds, shown = trained(tiny_model, sure, accelerator, 3)
    assert rounds == 3
    assert "round 3 of at most 3" in shown
    undecided = np.full((len(TABLE), 3), 1 / 3)  # every label is as good as any other
    assert trained(tiny_model, undecided, accelerator, 3)[0] == 1
    assert trained(tiny_model, sure, accelerator, 1)[0] == 1


def test_a_student_without_updates_is_the_model_that_it_starts_from(tiny_model: Path, accelerator: Accelerator) -> None:
    classifier = new_classifier(str(tiny_model), INPUT, ("a", "b", "c"), 48, seed=0)
    before = classifier.scores(TABLE, accelerator)
    how = Distillation(Schedule(0, 1e-5), 4, temperature=2.0, seed=0)
    fit_student(classifier, TABLE, np.full((len(TABLE), 3), 1 / 3), how, accelerator, Reporter("quiet"))
    np.testing.assert_array_equal(classifier.scores(TABLE, accelerator), before)


def test_in_the_end_a_student_that_prefers_a_label_is_shifted(tiny_model: Path, accelerator: Accelerator) -> None:
    classifier = new_classifier(str(tiny_model), INPUT, ("a", "b", "c"), 48, seed=0)
    unsure = np.tile([0.1, 0.2, 0.7], (len(TABLE), 1))
    how = Distillation(Schedule(1, 1e-9), 4, temperature=2.0, seed=0, fit_bias=True)  # an update that changes nothing
    before = softmax(classifier.scores(TABLE, accelerator)).mean(axis=0)
    fit_student(classifier, TABLE, unsure, how, accelerator, Reporter("quiet"))
    after = softmax(classifier.scores(TABLE, accelerator)).mean(axis=0)
    assert np.abs(after - unsure[0]).max() < 0.1 < np.abs(before - unsure[0]).max()
    shifted = classifier.model.classifier.bias.detach().clone()
    nearly = np.tile(after + np.array([0.01, -0.01, 0.0]), (len(TABLE), 1))
    fit_student(classifier, TABLE, nearly, how, accelerator, Reporter("quiet"))
    assert (classifier.model.classifier.bias - shifted).abs().max() < 1e-6
    classifier.model.classifier.bias = None
    assert not shift_scores(classifier, np.ones(3))


@pytest.mark.parametrize(("recipe", "settings", "rounds"), [
    ("default", {}, 3), ("default", {"student_steps": "50"}, 1), ("paper", {}, 1),
    ("default", {"student_steps": "50", "student_rounds": "2"}, 2),
])  # fmt: skip
def test_a_given_number_of_steps_is_exact(recipe: str, settings: dict[str, str], rounds: int) -> None:
    assert make_recipe(recipe, settings).student.rounds == rounds
