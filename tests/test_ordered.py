"""Labels in an order: metrics, the loss of the student, and the key of the task file."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from pet.errors import PetError
from pet.ordered import ordered_metrics
from pet.task.task import Task
from pet.training.losses import ordinal_distillation_loss

STARS: dict[str, Any] = {
    "task": "stars",
    "fields": ["text"],
    "labels": ["1", "2", "3"],
    "ordered": True,
    "verbalizer": {"1": "bad", "2": "okay", "3": "great"},
    "patterns": ["{text} {mask}"],
}


def test_the_golden_kappa() -> None:
    gold, said = np.array([1, 2, 3, 4, 5, 5]) - 1, np.array([1, 2, 2, 5, 5, 3]) - 1
    confusion = np.zeros((5, 5), dtype=np.int64)
    np.add.at(confusion, (gold, said), 1)
    assert ordered_metrics(confusion) == {"qwk": pytest.approx(0.785714, abs=1e-6), "mae": pytest.approx(4 / 6)}


def test_one_label_alone_has_no_kappa() -> None:
    assert ordered_metrics([[3, 0], [0, 0]]) == {"qwk": 0.0, "mae": 0.0}


def test_a_far_label_costs_more_than_a_near_one() -> None:
    teacher = torch.tensor([[0.0, -9.0, -9.0]])
    near, far = (ordinal_distillation_loss(torch.tensor([s]), teacher, 1.0) for s in ([0, 3.0, 0], [0, 0, 3.0]))
    assert far > 1.3 * near > 0
    assert ordinal_distillation_loss(teacher, teacher, 2.0).item() == pytest.approx(0, abs=1e-6)


def test_the_loss_is_the_mean_divergence_of_the_thresholds() -> None:
    student, teacher = torch.zeros(1, 3), torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
    pairs = [(0.5, 1 / 3), (0.8, 2 / 3)]
    expected = sum(p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q)) for p, q in pairs) / 2
    assert ordinal_distillation_loss(student, teacher, 1.0).item() == pytest.approx(expected, abs=1e-6)


def test_the_task_file_adds_the_metrics_and_names_what_they_require() -> None:
    task = Task.from_dict(STARS)
    assert task.ordered and task.metrics == ("accuracy", "macro_f1", "qwk", "mae")
    assert Task.from_dict(task.to_dict()) == task
    with pytest.raises(PetError, match="ordered: true"):
        Task.from_dict({**STARS, "ordered": False, "metrics": ["qwk"]})
    with pytest.raises(PetError, match="multi_label"):
        Task.from_dict({**STARS, "multi_label": True})
