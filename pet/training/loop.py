"""The one training loop: members, students and plain classifiers go through it."""

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
from pet.training.memory import kept_memory
from pet.training.settings import MemberSettings, OptimizerSettings, StudentSettings, SupervisedSettings

if TYPE_CHECKING:
    from accelerate import Accelerator

    from pet.training.group import Group

_SHORT = 128  # tokens
_LOOK_EVERY = 10  # steps between looks at the loss: each look waits for the device


@dataclass(frozen=True)
class Schedule:
    """How weights are updated.

    Attributes
    ----------
    steps : updates, exactly
    learning_rate : its peak; it rises linearly from 0 and falls linearly to 0
    warmup : share of the steps in which it rises
    accumulation : micro-batches an update
    weight_decay, adam_epsilon, max_grad_norm : of AdamW and of the clipping
    """

    steps: int
    learning_rate: float
    warmup: float = 0.0
    accumulation: int = 1
    weight_decay: float = 0.01
    adam_epsilon: float = 1e-8
    max_grad_norm: float = 1.0

    @classmethod
    def of(
        cls,
        optimizer: OptimizerSettings,
        trained: MemberSettings | StudentSettings | SupervisedSettings,
        learning_rate: float,
        steps: int | None = None,
    ) -> Schedule:
        """Return the schedule for a member, a student or a supervised classifier.

        Parameters
        ----------
        optimizer : settings that everything trained shares
        trained : settings of what is trained
        learning_rate : its peak
        steps : number of updates; None: that of `trained`

        Examples
        --------
        >>> Schedule.of(OptimizerSettings(), StudentSettings(), 1e-4).steps
        200
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


def rate_factor(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate at an update, counted from 0: up over the warm-up, then down to 0.

    Without warm-up the first update has the whole rate and the one after the last would have 0.
    """
    rising = round(steps * warmup)
    if step < rising:
        return (step + 1) / (rising + 1)
    return max(0.0, (steps - step) / max(1, steps - rising))


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters that decay, and those that do not: biases and normalisation weights, which are vectors."""
    trained = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def train(
    objective: nn.Module,
    batches: Iterator[Any],
    schedule: Schedule,
    accelerator: Accelerator,
    on_step: Callable[[int, float | None], None] = lambda step, loss: None,
    group: Group | None = None,
) -> list[float]:
    """Update the weights of a module whose ``forward(batch)`` is the loss of a micro-batch.

    Parameters
    ----------
    objective : module on the accelerator's device
    batches : endless micro-batches, in the order in which they are used
    schedule : how
    accelerator : precision and processes
    on_step : called after each update with its number from 1 and, now and then, the mean loss since
    group : processes that were given the same module and the same batches; each computes its share of the micro-batches
        of an update. The number of these must be a multiple of the group's size

    Returns
    -------
    list of float: the mean loss over each stretch of 10 updates

    Raises
    ------
    PetError
        When the loss is no longer a number.
    """
    fused = accelerator.device.type in ("cpu", "cuda")
    optimizer = torch.optim.AdamW(
        parameter_groups(objective, schedule.weight_decay),
        lr=schedule.learning_rate,
        eps=schedule.adam_epsilon,
        fused=fused,
    )
    module, stepper = accelerator.prepare(objective, optimizer)
    module.train()
    with kept_memory(accelerator.device.type):
        history = _updates(module, stepper, batches, schedule, accelerator, on_step, group)
    accelerator.free_memory()
    objective.eval()
    return history


def _updates(
    module: nn.Module,
    stepper: torch.optim.Optimizer,
    batches: Iterator[Any],
    schedule: Schedule,
    accelerator: Accelerator,
    on_step: Callable[[int, float | None], None],
    group: Group | None,
) -> list[float]:
    """All updates of a training, and the mean losses."""
    history: list[float] = []
    since: list[torch.Tensor] = []
    for step in range(schedule.steps):
        for parameters in stepper.param_groups:
            parameters["lr"] = schedule.learning_rate * rate_factor(step, schedule.steps, schedule.warmup)
        for micro in range(schedule.accumulation):
            last = micro == schedule.accumulation - 1
            batch = next(batches)
            if group is not None and not group.owns(micro):
                continue
            with accelerator.autocast(), _synchronise(accelerator, module, last), _attention(batch, accelerator):
                loss = module(batch) / schedule.accumulation
                accelerator.backward(loss)
            since.append(loss.detach())
        if group is not None:
            group.all_reduce([p.grad for p in module.parameters() if p.grad is not None])
        accelerator.clip_grad_norm_(module.parameters(), schedule.max_grad_norm)
        stepper.step()
        stepper.zero_grad()
        mean = None
        if (step + 1) % _LOOK_EVERY == 0 or step + 1 == schedule.steps:
            total, count = torch.stack(since).sum(), len(since)
            if group is not None:
                group.all_reduce([total])
                count *= group.size
            mean = float(total) * schedule.accumulation / count
            since.clear()
            history.append(mean)
            if not math.isfinite(mean):
                raise PetError(
                    f"training: the loss is {mean} at step {step + 1}; lower learning_rate, or use --precision fp32"
                )
        on_step(step + 1, mean)
    return history


def _attention(batch: Any, accelerator: Accelerator) -> AbstractContextManager[Any]:
    """On a processor, plain matrix products for short rows.

    The fused attention's backward pass was measured to cost more there: an update of a 6-layer model with rows of
    70 tokens took 1.2 times as long with it.
    """
    ids = batch.get("input_ids") if isinstance(batch, dict) else None
    if accelerator.device.type == "cpu" and ids is not None and ids.shape[1] <= _SHORT:
        return sdpa_kernel(SDPBackend.MATH)
    return nullcontext()


def _synchronise(accelerator: Accelerator, module: nn.Module, last: bool) -> Any:
    """Gradients travel between processes only with the last micro-batch of an update."""
    return nullcontext() if last else accelerator.no_sync(module)
