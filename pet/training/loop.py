"""The training loop of members, students, supervised classifiers, and `pet adapt`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from pet.errors import PetError
from pet.training.device import Accelerator, free_memory
from pet.training.memory import kept_memory
from pet.training.settings import MemberSettings, OptimizerSettings, StudentSettings, SupervisedSettings

if TYPE_CHECKING:
    from pet.training.group import Group

_SHORT = 128  # tokens
_LOOK_EVERY = 10  # updates between readings of the loss; each reading waits for the device


@dataclass(frozen=True)
class Schedule:
    """Settings of the optimizer and the learning rate schedule.

    Attributes
    ----------
    steps : number of updates; ignored if `train` is given learning rates
    learning_rate : peak learning rate; it rises linearly from 0 and then falls linearly to 0
    warmup : fraction of the updates during which it rises
    accumulation : micro-batches per update
    weight_decay, adam_epsilon, adam_betas : parameters of AdamW
    max_grad_norm : maximum gradient norm; larger gradients are clipped
    """

    steps: int
    learning_rate: float
    warmup: float = 0.0
    accumulation: int = 1
    weight_decay: float = 0.01
    adam_epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    adam_betas: tuple[float, float] = (0.9, 0.999)

    @classmethod
    def of(
        cls,
        optimizer: OptimizerSettings,
        trained: MemberSettings | StudentSettings | SupervisedSettings,
        learning_rate: float,
        steps: int | None = None,
    ) -> Schedule:
        """Return the schedule for a member, a student, or a supervised classifier.

        Parameters
        ----------
        optimizer : settings that all models share
        trained : settings of the model to train
        learning_rate : peak learning rate
        steps : number of updates; default: that of `trained`

        Examples
        --------
        >>> Schedule.of(OptimizerSettings(), StudentSettings(), 1e-4).steps
        100
        """
        return cls(
            steps=trained.steps if steps is None else steps,
            learning_rate=learning_rate,
            warmup=optimizer.warmup,
            accumulation=trained.accumulation,
            weight_decay=optimizer.weight_decay,
            adam_epsilon=optimizer.adam_epsilon,
            max_grad_norm=optimizer.max_grad_norm,
        )

    @property
    def decay(self) -> float:
        """The factor by which all updates together multiply a matrix that never has a gradient.

        Examples
        --------
        >>> round(Schedule(steps=2, learning_rate=0.5, weight_decay=0.1).decay, 5)  # 0.95 * 0.975
        0.92625
        """
        return math.prod(1 - rate * self.weight_decay for rate in _rates(self))


def rate_factor(step: int, steps: int, warmup: float) -> float:
    """Return the fraction of the peak learning rate for an update, counted from 0.

    The fraction rises linearly during warm-up, then falls linearly to 0. Without warm-up the first update has the peak
    rate. The rate reaches 0 one update after the last.

    Examples
    --------
    >>> [rate_factor(step, 4, 0.0) for step in range(5)]
    [1.0, 0.75, 0.5, 0.25, 0.0]
    """
    rising = round(steps * warmup)
    if step < rising:
        return (step + 1) / (rising + 1)
    return max(0.0, (steps - step) / max(1, steps - rising))


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split the trained parameters: matrices get weight decay, vectors (biases, normalization weights) do not."""
    trained = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


@dataclass(frozen=True)
class Course:
    """The state of a training that continues from a checkpoint or decides itself when to stop.

    Attributes
    ----------
    rates : learning rates of the remaining updates; training ends after the last one
    optimizer : an optimizer from `make_optimizer`, with its state
    step : number of updates made so far
    """

    rates: Iterator[float]
    optimizer: torch.optim.Optimizer
    step: int = 0


def make_optimizer(objective: nn.Module, schedule: Schedule, accelerator: Accelerator) -> torch.optim.AdamW:
    """Return AdamW over the parameters that require gradients; call it after moving the module to its device."""
    return torch.optim.AdamW(
        parameter_groups(objective, schedule.weight_decay),
        lr=schedule.learning_rate,
        betas=schedule.adam_betas,
        eps=schedule.adam_epsilon,
        fused=accelerator.device.type in ("cpu", "cuda"),
    )


def train(
    objective: nn.Module,
    batches: Iterator[Any],
    schedule: Schedule,
    accelerator: Accelerator,
    on_step: Callable[[int, float | None], None] = lambda step, loss: None,
    group: Group | None = None,
    course: Course | None = None,
) -> list[float]:
    """Update the weights of a module whose ``forward(batch)`` returns the loss of a micro-batch.

    Parameters
    ----------
    objective : module on the accelerator's device
    batches : endless micro-batches, in the order of use
    schedule : optimizer settings, number of updates, learning rate
    accelerator : device and precision
    on_step : called after each update with its number, counted from 1, and every 10 updates with the mean loss since
        the last such call (otherwise None)
    group : processes with the same module and the same batches that share the micro-batches of each update;
        ``schedule.accumulation`` must be a multiple of the group's size
    course : optimizer, number of updates made, and remaining learning rates; default: start from the beginning and
        follow the schedule

    Returns
    -------
    list of float: the mean loss over each stretch of 10 updates

    Raises
    ------
    PetError
        If the loss is no longer a finite number.
    """
    if course is None:
        course = Course(_rates(schedule), make_optimizer(objective, schedule, accelerator))
    objective.train()
    with kept_memory(accelerator.device.type):
        history = _updates(objective, course, batches, schedule, accelerator, on_step, group)
    free_memory(accelerator.device)
    objective.eval()
    return history


def _rates(schedule: Schedule) -> Iterator[float]:
    """Yield the learning rate of each update of a schedule."""
    for step in range(schedule.steps):
        yield schedule.learning_rate * rate_factor(step, schedule.steps, schedule.warmup)


def _updates(
    module: nn.Module,
    course: Course,
    batches: Iterator[Any],
    schedule: Schedule,
    accelerator: Accelerator,
    on_step: Callable[[int, float | None], None],
    group: Group | None,
) -> list[float]:
    """Make all updates and return the mean losses."""
    stepper = course.optimizer
    losses, scaler = _Losses(schedule.accumulation, group), accelerator.loss_scaler()
    for step, rate in enumerate(course.rates, start=course.step + 1):
        for parameters in stepper.param_groups:
            parameters["lr"] = rate
        for micro in range(schedule.accumulation):
            batch = next(batches)
            if group is not None and not group.owns(micro):
                continue
            with accelerator.autocast(), _attention(batch, accelerator):
                loss = module(batch).float() / schedule.accumulation
                scaler.scale(loss).backward()
            losses.since.append(loss.detach())
        if group is not None:
            group.all_reduce([p.grad for p in module.parameters() if p.grad is not None])
        scaler.unscale_(stepper)
        nn.utils.clip_grad_norm_(module.parameters(), schedule.max_grad_norm)
        scaler.step(stepper)
        scaler.update()
        stepper.zero_grad()
        look = step % _LOOK_EVERY == 0 or step == schedule.steps
        on_step(step, losses.look(step) if look else None)
    if losses.since:  # the last update was between two readings
        losses.look(step)
    return losses.history


class _Losses:
    """Losses of micro-batches on the device, and their means over every 10 updates."""

    def __init__(self, accumulation: int, group: Group | None):
        self.since: list[torch.Tensor] = []
        self.history: list[float] = []
        self._accumulation, self._group = accumulation, group

    def look(self, step: int) -> float:
        """Wait for the device and return the mean loss since the last reading."""
        total, count = torch.stack(self.since).sum(), len(self.since)
        if self._group is not None:
            self._group.all_reduce([total])
            count *= self._group.size
        mean = float(total) * self._accumulation / count
        self.since.clear()
        self.history.append(mean)
        if not math.isfinite(mean):
            raise PetError(
                f"training diverged: the loss is {mean} at step {step}; "
                "lower the learning rate, or use --precision fp32"
            )
        return mean


def _attention(batch: Any, accelerator: Accelerator) -> AbstractContextManager[Any]:
    """Use plain matrix products for short rows on a CPU.

    The backward pass of fused attention is slower there: an update of a 6-layer model with rows of 70 tokens took 1.2
    times as long.
    """
    ids = batch.get("input_ids") if isinstance(batch, dict) else None
    if accelerator.device.type == "cpu" and ids is not None and ids.shape[1] <= _SHORT:
        return sdpa_kernel(SDPBackend.MATH)
    return nullcontext()
