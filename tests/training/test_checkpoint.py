"""Checkpoints."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from torch import nn

from pet.training.checkpoint import load_checkpoint, save_checkpoint
from pet.training.loop import Course, Schedule, make_optimizer, train


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line, self.spare = nn.Linear(3, 1), nn.Linear(2, 2)  # the second one gets no gradient

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return ((self.line(batch) - batch.sum(1, keepdim=True)) ** 2).mean()


def _model() -> Line:
    torch.manual_seed(0)
    return Line()


def test_training_continued_from_a_checkpoint_equals_one_in_a_single_run(accelerator, tmp_path: Path) -> None:
    schedule, batches = Schedule(steps=0, learning_rate=0.1), [torch.rand(4, 3) for _ in range(12)]
    whole = _model()
    course = Course(itertools.repeat(0.1, 12), make_optimizer(whole, schedule, accelerator))
    train(whole, iter(batches), schedule, accelerator, course=course)

    half = _model()
    optimizer = make_optimizer(half, schedule, accelerator)
    assert load_checkpoint(tmp_path / "c", half, optimizer) is None
    train(half, iter(batches), schedule, accelerator, course=Course(itertools.repeat(0.1, 5), optimizer))
    for step in (4, 5):  # the second one replaces the first
        save_checkpoint(tmp_path / "c", half, optimizer, {"step": step})

    rest = Line()
    optimizer = make_optimizer(rest, schedule, accelerator)
    assert load_checkpoint(tmp_path / "c", rest, optimizer) == {"step": 5}
    train(rest, iter(batches[5:]), schedule, accelerator, course=Course(itertools.repeat(0.1, 7), optimizer, 5))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), rest.parameters(), strict=True))
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    assert not list(tmp_path.rglob("*.bin")) and not list(tmp_path.rglob("*.pt"))
