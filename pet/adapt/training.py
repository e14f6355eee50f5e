"""Masked-LM training in the shared loop: learning rates, batches, evaluation and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pet.adapt.objective import MaskedTokenObjective, Masker, evaluate, micro_batch, set_dropout
from pet.adapt.plan import Plan, rows_of_step
from pet.adapt.settings import TrainingSettings
from pet.backbones.masked import MaskedLM
from pet.process import reseed, seeded
from pet.progress import Progress, Reporter
from pet.training.batching import to_tensors
from pet.training.checkpoint import load_checkpoint, save_checkpoint
from pet.training.device import Accelerator
from pet.training.loop import Course, Schedule, make_optimizer, train

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pet.training.group import Group

Array = NDArray[Any]
_STEP = 5  # second part of the seed, as in `pet.adapt.plan`
CHECKPOINT = "checkpoint"
Figures = dict[str, float]


@dataclass
class State:
    """How far a training is.

    Attributes
    ----------
    step, tokens, seconds : updates, tokens and time so far
    history : evaluations along the way
    start : the evaluation before training
    """

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    history: list[Figures] = field(default_factory=list)
    start: Figures = field(default_factory=dict)


@dataclass(frozen=True)
class Machine:
    """Where training runs: device and precision, the processes that share it, and the reporter."""

    accelerator: Accelerator
    reporter: Reporter
    group: Group | None = None

    @property
    def is_main(self) -> bool:
        return self.group is None or self.group.is_main

    @property
    def processes(self) -> int:
        return 1 if self.group is None else self.group.size


class Training:
    """A masked-LM training that can be stopped at any time and continued with the same result.

    Parameters
    ----------
    model : trained in place
    blocks, held_out : int arrays of shape (sequences, length), to train on and to evaluate on
    masker, settings : how to train
    folder : ``checkpoint/`` in it is written every ``settings.checkpoint_minutes`` and when training is stopped
    machine : where to train
    """

    def __init__(
        self,
        model: PreTrainedModel,
        blocks: Array,
        held_out: Array,
        masker: Masker,
        settings: TrainingSettings,
        folder: Path,
        machine: Machine,
    ):
        self.model, self.masker, self.settings, self.machine = model, masker, settings, machine
        self.blocks, self.held_out = blocks, held_out
        self.plan = Plan.of(settings, blocks.shape[0], blocks.shape[1], machine.processes)
        self.state = State()
        self.finished = False
        set_dropout(model, settings.dropout)
        self._folder = folder / CHECKPOINT
        self._encoder = list(model.base_model.parameters())
        self._objective = MaskedTokenObjective(MaskedLM(model)).to(machine.accelerator.device)
        self._schedule = Schedule(
            steps=0,  # the learning rates end the training
            learning_rate=settings.lr,
            accumulation=self.plan.pieces,
            weight_decay=settings.weight_decay,
            adam_epsilon=1e-6,
            adam_betas=(0.9, 0.98),
            max_grad_norm=settings.clip,
        )
        self._optimizer = make_optimizer(self._objective, self._schedule, machine.accelerator)

    def run(self, stop: Callable[[], bool] = lambda: False) -> dict[str, Any]:
        """Train to the end, or until `stop`, which is called after each update, returns True.

        Returns
        -------
        dict: the fields of `State`, ``finished`` and, if finished, ``evaluation`` and ``epochs``
        """
        machine = self.machine
        found = load_checkpoint(self._folder, self.model, self._optimizer)
        if found is None:
            self.state.start = self._evaluate("before training")
        else:
            self.state = State(**found)
            machine.reporter.info(f"continuing after step {self.state.step}")
        first = replace(self.state)
        self._began, self._saved = machine.reporter.clock() - first.seconds, first.seconds
        course = Course(self._rates(stop), self._optimizer, first.step)
        with self._progress() as bar:

            def on_step(step: int, loss: float | None) -> None:
                self._advance(step, loss)
                _show(bar, first, self.state, loss)

            batches, device = self._batches(), machine.accelerator.device
            with seeded(self.settings.seed, device):
                train(self._objective, batches, self._schedule, machine.accelerator, on_step, machine.group, course)
        self._train_encoder(True)
        if not self.finished:
            self._save()
            return {**asdict(self.state), "finished": False}
        result = self._evaluate("held-out text at the end")
        epochs = self.state.step * self.plan.rows / len(self.blocks)
        return {**asdict(self.state), "evaluation": result, "finished": True, "epochs": epochs}

    def _rates(self, stop: Callable[[], bool]) -> Iterator[float]:
        """Yield the learning rate of each update. All processes agree on the time and the end."""
        settings, share, first = self.settings, self.settings.head_share or 0.0, self.state.step
        while True:
            now: dict[str, Any] = {"seconds": self._seconds(), "stop": self.state.step > first and stop()}
            if self.machine.group is not None:
                now = self.machine.group.share(now)
            done = self.plan.pace.done(self.state.step, now["seconds"])
            self.finished = done >= 1.0
            if self.finished or now["stop"]:
                return
            head_only = done < share
            self._train_encoder(not head_only)
            part = done / share if head_only else (done - share) / (1 - share)
            yield settings.lr * self.plan.pace.rate_factor(part, floor=1.0 if head_only else 0.0)

    def _train_encoder(self, on: bool) -> None:
        for parameter in self._encoder:
            parameter.requires_grad_(on)

    def _batches(self) -> Iterator[dict[str, Tensor]]:
        """Yield micro-batches. Everything random in an update follows from the seed and the number of the update."""
        group, device, step = self.machine.group, self.machine.accelerator.device, self.state.step
        while True:
            generator = np.random.default_rng([self.settings.seed, _STEP, step])
            reseed(int(generator.integers(2**62)) + (0 if group is None else group.rank), device)
            ids = self.blocks[rows_of_step(step, self.plan.rows, len(self.blocks), self.settings.seed)]
            inputs, hidden = self.masker.hide(ids, generator)
            weight = self.plan.pieces / int(hidden.sum())  # the loop divides by the number of pieces
            for part in np.array_split(np.arange(len(ids)), self.plan.pieces):
                yield to_tensors(micro_batch(ids[part], inputs[part], hidden[part], weight), device)
            step += 1

    def _progress(self) -> Progress:
        """Show progress in steps or, if time is the only limit, in seconds."""
        pace, state = self.plan.pace, self.state
        if pace.steps is not None:
            return self.machine.reporter.task("train", max(0, pace.steps - state.step))
        return self.machine.reporter.task("train", round(max(0.0, (pace.seconds or 0.0) - state.seconds)), "second")

    def _advance(self, step: int, loss: float | None) -> None:
        """Count an update; write a checkpoint if it is time and the loss is known to be finite."""
        state = self.state
        state.step, state.tokens = step, state.tokens + self.plan.rows * self.blocks.shape[1]
        state.seconds = self._seconds()
        if loss is None or state.seconds - self._saved < self.settings.checkpoint_minutes * 60:
            return
        figures = self._evaluate(f"held-out text at step {step}")
        state.history.append({"step": step, "tokens": state.tokens, "seconds": state.seconds, **figures})
        self._save()
        self._saved = state.seconds

    def _seconds(self) -> float:
        return self.machine.reporter.clock() - self._began

    def _save(self) -> None:
        if self.machine.is_main:
            save_checkpoint(self._folder, self.model, self._optimizer, asdict(self.state))

    def _evaluate(self, when: str) -> Figures:
        """Evaluate and report the figures; only the main process does, the others wait in the next update."""
        if not self.machine.is_main:
            return {}
        figures = evaluate(self._objective, self.held_out, self.masker, self.settings, self.machine.accelerator)
        loss, perplexity, accuracy = (figures[name] for name in ("loss", "perplexity", "accuracy"))
        self.machine.reporter.info(
            f"{when}: loss {loss:.3f}, perplexity {perplexity:.1f}, masked accuracy {accuracy:.3f}"
        )
        return figures


def _show(bar: Progress, first: State, state: State, loss: float | None) -> None:
    """Show an update in the progress line."""
    seconds = state.seconds - first.seconds
    figures: dict[str, Any] = {"loss": loss}
    if loss is not None and seconds > 0:
        figures["tokens/s"] = f"{(state.tokens - first.tokens) / seconds:,.0f}"
    if bar.unit == "second":
        bar.update(int(seconds) - bar.done, step=str(state.step), **figures)
    else:
        bar.update(**figures)
