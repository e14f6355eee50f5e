"""Train one prompt on several patterns, of one or more tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pet.backbones.base import LanguageModel
from pet.cloze.pvp import PVP
from pet.cloze.tokens import TokenTable
from pet.members.training import ClozeData, MemberObjective, member_batches
from pet.process import seeded
from pet.seeds import derive_seed
from pet.training.device import Accelerator
from pet.training.loop import Schedule, train
from pet.tuning.members import Backbone, start_member
from pet.tuning.vectors import VECTORS, save_vectors

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pet.recipe import Recipe

Array = NDArray[Any]


@dataclass(frozen=True)
class MixtureTask:
    """Training data for a prompt: a task's patterns and labeled texts.

    Attributes
    ----------
    name : name of the task
    pvps : its patterns, bound with one soft token per vector of the prompt before them
    tokens, labels : its labeled texts
    """

    name: str
    pvps: list[PVP]
    tokens: TokenTable
    labels: Array


def turns(patterns: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the task and pattern of each micro-batch, forever.

    Tasks alternate regardless of their sizes, so that large tasks do not dominate small ones. Within a task, its
    patterns alternate.

    Parameters
    ----------
    patterns : number of patterns per task

    Yields
    ------
    (task, pattern), both from 0
    """
    number = 0
    while True:
        for task, count in enumerate(patterns):
            yield task, number % count
        number += 1


class _MixtureObjective(nn.Module):
    """Computes the loss of a micro-batch with the label words of its pattern."""

    def __init__(self, lm: LanguageModel, sources: Sequence[MixtureTask]):
        super().__init__()
        self.parts = nn.ModuleDict(
            {
                f"{t}-{p}": MemberObjective(lm, pvp, 0.0)
                for t, source in enumerate(sources)
                for p, pvp in enumerate(source.pvps)
            }
        )

    def forward(self, batch: dict[str, Any]) -> Tensor:
        loss: Tensor = self.parts[batch["part"]](batch)
        return loss


def mixture_batches(
    lm: LanguageModel,
    sources: Sequence[MixtureTask],
    recipe: Recipe,
    device: torch.device,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Yield micro-batches of all sources forever, in `turns`; ``part`` names the task and pattern of each."""
    recipe = recipe.with_settings(unlabeled_batch=0)
    streams = {
        (t, p): member_batches(
            lm, pvp, ClozeData(source.tokens, source.labels, None), recipe.member, device,
            derive_seed(seed, source.name, t, p),
        )
        for t, source in enumerate(sources)
        for p, pvp in enumerate(source.pvps)
    }  # fmt: skip
    for task, pattern in turns([len(source.pvps) for source in sources]):
        yield {**next(streams[task, pattern]), "part": f"{task}-{pattern}"}


def mixture_steps(sources: Sequence[MixtureTask], recipe: Recipe) -> int:
    """Return the number of updates for training a prompt on these sources."""
    return recipe.member.updates(sum(len(source.labels) for source in sources))


def train_prompt(
    backbone: Backbone,
    tokenizer: PreTrainedTokenizerBase,
    sources: Sequence[MixtureTask],
    recipe: Recipe,
    seed: int,
    accelerator: Accelerator,
    on_step: Callable[[int, float | None], None] = lambda step, loss: None,
) -> tuple[Array, list[float]]:
    """Train one prompt on all patterns of all sources.

    Parameters
    ----------
    backbone : the model; unchanged afterwards
    tokenizer : the model's tokenizer
    sources : training data
    recipe : recipe with ``tuning`` prompt; vectors initialized from words use the first task's label words, or the
        frequent words of all texts
    seed : random seed
    accelerator : device and precision
    on_step : see `pet.training.loop.train`

    Returns
    -------
    vectors : float32 array of shape (n, D)
    losses : mean losses over consecutive groups of updates
    """
    first = sources[0].pvps[0]
    # Frequent words are looked up under the first pattern's keys, whatever the keys of each task are.
    texts = [dict.fromkeys(first.encoder.keys, ragged) for source in sources for ragged in source.tokens.values()]
    lm = start_member(backbone, recipe.tuning, first, texts, seed, accelerator.device)
    objective = _MixtureObjective(lm, sources).to(accelerator.device)
    batches = mixture_batches(lm, sources, recipe, accelerator.device, seed)
    steps = mixture_steps(sources, recipe)
    schedule = Schedule.of(recipe.optimizer, recipe.member, recipe.member.learning_rate, steps)
    with seeded(derive_seed(seed, "dropout"), accelerator.device):
        losses = train(objective, batches, schedule, accelerator, on_step)
    found = save_vectors(lm.model)[VECTORS].cpu().numpy().astype(np.float32)
    backbone.restore()
    return found, losses
