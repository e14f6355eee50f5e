"""Rank prompts for a new task, by similarity to a briefly trained prompt of the task or by zero-shot accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from pet.backbones.kinds import language_model
from pet.cloze.pvp import PVP
from pet.cloze.tokens import TokenTable
from pet.errors import PetError
from pet.members.scoring import score_rows
from pet.numerics import softmax
from pet.prompts.library import Prompt
from pet.prompts.mixture import MixtureTask, train_prompt
from pet.prompts.neurons import activated
from pet.prompts.similarity import mean_cosine, neuron_overlap, normalized_weights, pair_cosine, weighted_mean
from pet.training.device import Accelerator
from pet.tuning import prompt as prompt_tuning
from pet.tuning.members import Backbone

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pet.recipe import Recipe

Array = NDArray[Any]
# Measure -> whether it requires training a prompt for the new task first
MEASURES = {"zero-shot": False, "cosine": True, "pairs": True, "neurons": True}


@dataclass(frozen=True)
class Candidate:
    """Measures of a prompt for a new task; None if not measured.

    Attributes
    ----------
    name : name of the prompt
    accuracy, loss : zero-shot accuracy and cross-entropy on the task, averaged over its patterns
    cosine, pairs, neurons : similarity to a prompt of the task (`pet.prompts.similarity`)
    """

    name: str
    accuracy: float | None = None
    loss: float | None = None
    cosine: float | None = None
    pairs: float | None = None
    neurons: float | None = None

    def value(self, measure: str) -> float:
        """Return one of `MEASURES`, the higher the better.

        Raises
        ------
        ValueError
            If it was not measured.
        """
        found = self.accuracy if measure == "zero-shot" else getattr(self, measure)
        if found is None:
            raise ValueError(f"prompt {self.name}: {measure} was not measured")
        return float(found)

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as plain values."""
        return asdict(self)


@dataclass
class NewTask:
    """A task to rank prompts for.

    Attributes
    ----------
    name : name of the task
    bind : returns its patterns, bound with the given number of soft tokens before them
    tokens, labels : its labeled texts
    backbone, tokenizer, recipe, accelerator, seed : for training a prompt for the task
    """

    name: str
    bind: Callable[[int], list[PVP]]
    tokens: TokenTable
    labels: Array
    backbone: Backbone
    tokenizer: PreTrainedTokenizerBase
    recipe: Recipe
    accelerator: Accelerator
    seed: int
    _bound: dict[int, list[PVP]] = field(default_factory=dict)

    def patterns(self, length: int) -> list[PVP]:
        """Return the task's patterns with `length` soft tokens before them."""
        if length not in self._bound:
            self._bound[length] = self.bind(length)
        return self._bound[length]

    @cached_property
    def query(self) -> Array:
        """A prompt for the task, trained for `query_steps` updates on all of its patterns: shape (n, D).

        Like the task embedding of SPoT (arXiv 2110.07904), an early checkpoint of the target task's prompt.
        """
        recipe = self.recipe.with_settings(steps=self.recipe.library.query_steps, min_epochs=0.0)
        source = MixtureTask(self.name, self.patterns(recipe.tuning.config.length), self.tokens, self.labels)
        return train_prompt(self.backbone, self.tokenizer, [source], recipe, self.seed, self.accelerator)[0]

    @cached_property
    def neurons(self) -> Array:
        """The neurons that the query activates; see `pet.prompts.neurons.activated`."""
        return activated(self.backbone, self.tokenizer, self.query)


def zero_shot(task: NewTask, vectors: Array, tokens: TokenTable, labels: Array) -> tuple[float, float]:
    """Return the zero-shot accuracy and cross-entropy of a prompt on labeled texts, averaged over the patterns."""
    task.backbone.restore()
    model = task.backbone.model
    device = model.get_input_embeddings().weight.device
    prompt_tuning.inject(model, torch.from_numpy(np.array(vectors, dtype=np.float32)).to(device))
    lm, found = language_model(model), []
    for pvp in task.patterns(len(vectors)):
        max_tokens = task.recipe.inference.tokens
        scores = score_rows(lm, task.tokenizer, pvp, tokens, task.accelerator, max_tokens=max_tokens)
        gold = softmax(scores)[np.arange(len(labels)), labels]
        found.append((float((scores.argmax(axis=1) == labels).mean()), float(-np.log(gold + 1e-12).mean())))
    task.backbone.restore()
    return float(np.mean([accuracy for accuracy, _ in found])), float(np.mean([loss for _, loss in found]))


def measure(
    task: NewTask,
    prompts: Sequence[Prompt],
    measures: Sequence[str],
    tried_on: tuple[TokenTable, Array] | None = None,
    on_prompt: Callable[[int], object] = lambda n: None,
) -> list[Candidate]:
    """Measure prompts for a task.

    Parameters
    ----------
    task, prompts : the task and the prompts, all for the same backbone
    measures : names from `MEASURES`
    tried_on : texts and labels for ``zero-shot``; default: those of the task
    on_prompt : called with 1 after each prompt

    Returns
    -------
    list of Candidate, in the order of `prompts`
    """
    found = []
    for prompt in prompts:
        figures: dict[str, float] = {}
        if "zero-shot" in measures:
            tokens, labels = tried_on or (task.tokens, task.labels)
            figures["accuracy"], figures["loss"] = zero_shot(task, prompt.vectors, tokens, labels)
        if "cosine" in measures:
            figures["cosine"] = mean_cosine(task.query, prompt.vectors)
        if "pairs" in measures:
            figures["pairs"] = pair_cosine(task.query, prompt.vectors)
        if "neurons" in measures:
            states = activated(task.backbone, task.tokenizer, prompt.vectors)
            figures["neurons"] = neuron_overlap(task.neurons, states)
        found.append(Candidate(prompt.name, **figures))
        on_prompt(1)
    return found


def ranked(candidates: Sequence[Candidate], by: str) -> list[Candidate]:
    """Sort candidates, best first: by a measure, then by zero-shot loss if known, then by name."""

    def key(candidate: Candidate) -> tuple[float, float, str]:
        return -candidate.value(by), candidate.loss if candidate.loss is not None else 0.0, candidate.name

    return sorted(candidates, key=key)


def blend(prompts: Sequence[Prompt], candidates: Sequence[Candidate], by: str) -> tuple[Array, dict[str, float]]:
    """Return the weighted mean of ranked candidates, and the weight of each.

    Raises
    ------
    PetError
        If they differ in their number of vectors.
    """
    by_name = {prompt.name: prompt for prompt in prompts}
    chosen = [by_name[candidate.name] for candidate in candidates]
    lengths = sorted({prompt.length for prompt in chosen})
    if len(lengths) > 1:
        raise PetError(
            f"cannot average prompts with {' and '.join(map(str, lengths))} vectors; use prompts of the same length"
        )
    weights = normalized_weights([candidate.value(by) for candidate in candidates])
    mean = weighted_mean([prompt.vectors for prompt in chosen], weights)
    return mean, {prompt.name: float(weight) for prompt, weight in zip(chosen, weights, strict=True)}
