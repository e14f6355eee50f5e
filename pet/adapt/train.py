"""The training loop of `pet adapt`: masked-LM steps over packed sequences, checkpoints, evaluation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from pet.adapt import checkpoint, masking, schedule
from pet.adapt.head import logits_at
from pet.errors import PetError

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PreTrainedModel

_REDUCE_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class Settings:
    """How to train. All token counts include the special tokens."""

    epochs: float | None = None  #: passes over the text; one, if no other end is given
    max_steps: int | None = None
    max_minutes: float | None = None  #: wall time of training; the schedule is fitted to it
    batch_tokens: int = 8192  #: tokens of one optimizer step, over all processes
    micro_tokens: int = 8192  #: tokens that go through the model at once on one device
    lr: float = 5e-4
    warmup: float = 0.06  #: share of the training in which the learning rate rises
    head_share: float | None = (
        None  #: share of the training, at first, for a new head alone; None: 0.03 if there is one
    )
    weight_decay: float = 0.01
    clip: float = 1.0
    dropout: float = 0.0
    mask_rate: float = 0.15
    whole_word: bool = False
    seed: int = 0
    checkpoint_minutes: float = 10.0
    eval_tokens: int = 65536

    def __post_init__(self) -> None:
        positive = (
            "epochs",
            "max_steps",
            "max_minutes",
            "batch_tokens",
            "micro_tokens",
            "lr",
            "checkpoint_minutes",
            "eval_tokens",
        )
        problems = [
            f"--{name.replace('_', '-')} {value}: must be more than 0"
            for name in positive
            if (value := getattr(self, name)) is not None and not value > 0
        ]
        problems += [
            f"--{name.replace('_', '-')} {value}: must be at least 0 and less than 1"
            for name in ("warmup", "head_share", "dropout", "mask_rate")
            if (value := getattr(self, name)) is not None and not 0 <= value < 1
        ]
        if self.mask_rate == 0:
            problems.append("--mask-rate 0: nothing would be learned; use something like 0.15")
        if problems:
            raise PetError(problems)


@dataclass(frozen=True)
class Vocabulary:
    """What masking needs to know of a tokenizer."""

    mask_id: int
    special: np.ndarray  #: bool, shape (vocabulary,): never masked, never drawn
    continues: np.ndarray  #: bool, shape (vocabulary,): see `pet.adapt.packing.continuations`

    @property
    def ordinary(self) -> np.ndarray:
        return np.flatnonzero(~self.special)


def rows_of_step(step: int, rows: int, count: int, seed: int) -> np.ndarray:
    """Which sequences make up a step: each pass over the text has an order of its own.

    Returns
    -------
    array of int, shape (rows,)
    """
    places = np.arange(step * rows, (step + 1) * rows)
    orders = {
        epoch: np.random.default_rng([seed, 3, int(epoch)]).permutation(count) for epoch in np.unique(places // count)
    }
    return np.array([orders[place // count][place % count] for place in places])


def masked_batch(
    ids: np.ndarray, words: Vocabulary, rate: float, whole_word: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(inputs, chosen) for a batch of packed sequences."""
    chosen = masking.choose(ids, words.special, rate, rng, words.continues if whole_word else None)
    return masking.corrupt(ids, chosen, words.mask_id, words.ordinary, rng), chosen


def evaluate(
    model: PreTrainedModel,
    blocks: np.ndarray,
    words: Vocabulary,
    settings: Settings,
    accelerator: Accelerator,
) -> dict[str, float]:
    """Loss, perplexity and accuracy at masked positions of held-out text; the masks are the same each time.

    Returns
    -------
    dict
        ``loss`` (nats a masked token), ``perplexity``, ``accuracy``, ``masked`` (how many tokens).
    """
    blocks = blocks[: max(1, settings.eval_tokens // blocks.shape[1])]
    inputs, chosen = masked_batch(
        blocks, words, settings.mask_rate, settings.whole_word, np.random.default_rng([settings.seed, 4])
    )
    at_once = max(1, settings.micro_tokens // blocks.shape[1])
    loss, hits = 0.0, 0
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for start in range(0, len(blocks), at_once):
            part = slice(start, start + at_once)
            logits, targets = _forward(model, inputs[part], chosen[part], blocks[part], accelerator)
            loss += F.cross_entropy(logits, targets, reduction="sum").item()
            hits += int((logits.argmax(-1) == targets).sum())
    model.train(was_training)
    total = int(chosen.sum())
    mean = loss / total
    return {"loss": mean, "perplexity": math.exp(min(mean, 50.0)), "accuracy": hits / total, "masked": total}


def _forward(
    model: PreTrainedModel, inputs: np.ndarray, chosen: np.ndarray, ids: np.ndarray, accelerator: Accelerator
) -> tuple[torch.Tensor, torch.Tensor]:
    device = accelerator.device
    with accelerator.autocast():
        logits = logits_at(model, torch.from_numpy(inputs).long().to(device), torch.from_numpy(chosen).to(device))
    return logits.float(), torch.from_numpy(ids[chosen]).long().to(device)


def _add_up_gradients(parameters: list[torch.nn.Parameter], accelerator: Accelerator) -> None:
    """Sum the gradients over all processes, many small ones in one message."""
    if accelerator.num_processes == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    start = 0
    while start < len(gradients):
        end, size = start, 0
        while end < len(gradients) and (end == start or size + gradients[end].numel() <= _REDUCE_AT_ONCE):
            size += gradients[end].numel()
            end += 1
        summed = accelerator.reduce(torch.cat([g.reshape(-1) for g in gradients[start:end]]), reduction="sum")
        for g, part in zip(gradients[start:end], summed.split([g.numel() for g in gradients[start:end]]), strict=True):
            g.copy_(part.view_as(g))
        start = end


def _groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Biases and layer norms are not decayed."""
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def train(
    model: PreTrainedModel,
    blocks: np.ndarray,
    held: np.ndarray,
    words: Vocabulary,
    settings: Settings,
    folder: Path,
    *,
    accelerator: Accelerator,
    say: Callable[[str], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Train in place, going on from the checkpoint in `folder` if there is one.

    Parameters
    ----------
    blocks, held : arrays of int, shape (sequences, length)
        Packed sequences to train and to evaluate on.
    folder : Path
        Holds ``checkpoint/``, written every `settings.checkpoint_minutes` and when `stop` says so.
    clock : callable
        Seconds; only differences count.
    stop : callable
        Asked after each step; where it says yes, a checkpoint is written and training ends early.

    Returns
    -------
    dict
        ``finished``, ``step``, ``tokens``, ``seconds``, ``history``, ``start`` and, when finished,
        ``evaluation``.
    """
    count, length = blocks.shape
    rows = max(1, settings.batch_tokens // length)
    at_once = max(1, settings.micro_tokens // length)
    steps = settings.max_steps
    epochs = settings.epochs if steps or settings.max_minutes or settings.epochs else 1.0
    if epochs is not None:
        by_text = max(1, math.ceil(epochs * count / rows))
        steps = by_text if steps is None else min(steps, by_text)
    limit = None if settings.max_minutes is None else settings.max_minutes * 60.0
    head_share = settings.head_share or 0.0

    model.to(accelerator.device)
    _set_dropout(model, settings.dropout)
    optimizer = torch.optim.AdamW(_groups(model, settings.weight_decay), lr=settings.lr, betas=(0.9, 0.98), eps=1e-6)
    place = folder / "checkpoint"
    state = checkpoint.load(place, model, optimizer)
    if state is None:
        state = {
            "step": 0,
            "tokens": 0,
            "seconds": 0.0,
            "history": [],
            "start": evaluate(model, held, words, settings, accelerator),
        }
        say(f"before training: {_figures(state['start'])}")
    else:
        say(f"going on from step {state['step']}")
    encoder = list(model.base_model.parameters())
    model.train()
    began = clock() - state["seconds"]
    last_saved = last_said = state["seconds"]
    losses: list[float] = []
    tokens_said = state["tokens"]

    def save() -> None:
        if accelerator.is_main_process:
            checkpoint.save(place, model, optimizer, state)
        accelerator.wait_for_everyone()

    while True:
        seconds = _agreed(clock() - began, accelerator)
        done = schedule.progress(state["step"], steps, seconds, limit)
        if done >= 1.0:
            break
        head_only = done < head_share
        for p in encoder:
            p.requires_grad_(not head_only)
        rate = settings.lr * schedule.factor(
            done / head_share if head_only else (done - head_share) / (1 - head_share),
            settings.warmup,
            1.0 if head_only else 0.0,
        )
        for group in optimizer.param_groups:
            group["lr"] = rate

        step = state["step"]
        # Everything random in a step comes from (seed, step), so a resumed run draws the same.
        rng = np.random.default_rng([settings.seed, 5, step])
        torch.manual_seed(int(rng.integers(2**62)) + accelerator.process_index)
        ids = blocks[rows_of_step(step, rows, count, settings.seed)]
        inputs, chosen = masked_batch(ids, words, settings.mask_rate, settings.whole_word, rng)
        total = int(chosen.sum())
        summed = torch.zeros((), device=accelerator.device)
        mine = np.arange(rows)[accelerator.process_index :: accelerator.num_processes]
        for start in range(0, len(mine), at_once):
            part = mine[start : start + at_once]
            logits, targets = _forward(model, inputs[part], chosen[part], ids[part], accelerator)
            loss = F.cross_entropy(logits, targets, reduction="sum") / total
            accelerator.backward(loss)
            summed += loss.detach()
        trained = [p for p in model.parameters() if p.requires_grad]
        _add_up_gradients(trained, accelerator)
        torch.nn.utils.clip_grad_norm_(trained, settings.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

        losses.append(float(accelerator.reduce(summed, reduction="sum")))
        if not math.isfinite(losses[-1]):
            raise PetError(f"the loss is {losses[-1]} at step {step}: the training has come apart; use a smaller --lr")
        state["step"], state["tokens"] = step + 1, state["tokens"] + ids.size
        state["seconds"] = _agreed(clock() - began, accelerator)
        if state["seconds"] - last_said >= 20.0:
            speed = (state["tokens"] - tokens_said) / (state["seconds"] - last_said)
            left = _seconds_left(state, steps, limit)
            of_all = f"/{steps}" if steps else ""
            say(
                f"step {state['step']}{of_all}  loss {np.mean(losses):.3f}  lr {rate:.1e}  "
                f"{state['tokens'] / 1e6:.2f} M tokens  {speed:,.0f} tokens/s  {_clock_text(left)} left"
            )
            last_said, tokens_said, losses = state["seconds"], state["tokens"], []
        stopping = _agreed(float(stop()), accelerator) > 0
        if stopping or state["seconds"] - last_saved >= settings.checkpoint_minutes * 60:
            if not stopping:
                figures = evaluate(model, held, words, settings, accelerator)
                state["history"].append(
                    {"step": state["step"], "tokens": state["tokens"], "seconds": state["seconds"], **figures}
                )
                say(f"held-out text at step {state['step']}: {_figures(figures)}")
            save()
            last_saved = state["seconds"]
            if stopping:
                return {**state, "finished": False}
    for p in encoder:
        p.requires_grad_(True)
    result = evaluate(model, held, words, settings, accelerator)
    say(f"held-out text at the end: {_figures(result)}")
    return {**state, "evaluation": result, "finished": True, "epochs": state["step"] * rows / count}


def _set_dropout(model: torch.nn.Module, rate: float) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = rate
        for name in ("dropout_prob", "attention_dropout"):  # attention kernels read a number instead
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, rate)


def _agreed(value: float, accelerator: Accelerator) -> float:
    """The main process's number, so that all processes decide alike."""
    if accelerator.num_processes == 1:
        return value
    from accelerate.utils import broadcast

    return float(broadcast(torch.tensor(value, dtype=torch.float64, device=accelerator.device)))


def _seconds_left(state: dict[str, Any], steps: int | None, limit: float | None) -> float:
    done = schedule.progress(state["step"], steps, state["seconds"], limit)
    return state["seconds"] * (1 - done) / done if done else 0.0


def _clock_text(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def _figures(figures: dict[str, float]) -> str:
    loss, perplexity, accuracy = (figures[name] for name in ("loss", "perplexity", "accuracy"))
    return f"loss {loss:.3f}, perplexity {perplexity:.1f}, masked accuracy {accuracy:.3f}"
