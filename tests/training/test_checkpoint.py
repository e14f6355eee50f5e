"""Checkpoints."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import nn

from pet.errors import PetError
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


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["one bit", "half", "gone"])
def test_a_damaged_checkpoint_is_named_with_the_cure(accelerator, tmp_path: Path, file: str, damage: str) -> None:
    model, schedule = _model(), Schedule(steps=0, learning_rate=0.1)
    optimizer = make_optimizer(model, schedule, accelerator)
    train(model, iter([torch.rand(4, 3)]), schedule, accelerator, course=Course(iter([0.1]), optimizer))
    save_checkpoint(tmp_path / "c", model, optimizer, {"step": 1})
    path = tmp_path / "c" / file
    content = bytearray(path.read_bytes())
    content[-10] ^= 1  # a weight, or a digit of a hash
    path.write_bytes(content[: len(content) // 2] if damage == "half" else content)
    if damage == "gone":
        path.unlink()
    with pytest.raises(PetError, match=rf"{tmp_path / 'c'}: .*delete it"):
        load_checkpoint(tmp_path / "c", model, optimizer)


def test_a_checkpoint_of_an_earlier_version_is_read(accelerator, tmp_path: Path) -> None:
    model = _model()
    optimizer = make_optimizer(model, Schedule(steps=0, learning_rate=0.1), accelerator)
    save_checkpoint(tmp_path / "c", model, optimizer, {})
    (tmp_path / "c" / "state.json").write_text('{"step": 7}')
    assert load_checkpoint(tmp_path / "c", model, optimizer) == {"step": 7}


def test_a_checkpoint_of_another_model_is_refused(accelerator, tmp_path: Path) -> None:
    """Even where torch would repeat the values: from one output to four."""
    small, large = nn.Linear(3, 1), nn.Linear(3, 4)
    schedule = Schedule(steps=0, learning_rate=0.1)
    save_checkpoint(tmp_path / "c", small, make_optimizer(small, schedule, accelerator), {"step": 0})
    with pytest.raises(PetError, match="of another model"):
        load_checkpoint(tmp_path / "c", large, make_optimizer(large, schedule, accelerator))
