"""Which prompts of a library suit a new task: similarity to a short prompt of its own, and trying them out."""

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
from pet.prompts.mixture import Source, train_prompt
from pet.prompts.neurons import activated
from pet.prompts.similarity import mean_cosine, neuron_overlap, normalized_weights, pair_cosine, weighted_mean
from pet.tuning import prompt as prompt_tuning
from pet.tuning.members import Backbone

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PreTrainedTokenizerBase

    from pet.recipe import Recipe

Array = NDArray[Any]
# What prompts can be compared by -> whether a prompt of the new task is trained for it first
MEASURES = {"zero-shot": False, "cosine": True, "pairs": True, "neurons": True}


@dataclass(frozen=True)
class Candidate:
    """A prompt of the library beside a new task. What was not measured is None.

    Attributes
    ----------
    name : of the prompt
    accuracy, loss : of its use on the task without training: means over the task's patterns; loss is cross-entropy
    cosine, pairs, neurons : similarity to a prompt of the task (`pet.prompts.similarity`)
    """

    name: str
    accuracy: float | None = None
    loss: float | None = None
    cosine: float | None = None
    pairs: float | None = None
    neurons: float | None = None

    def value(self, measure: str) -> float:
        """What it is ranked by: more is better."""
        found = self.accuracy if measure == "zero-shot" else getattr(self, measure)
        assert found is not None
        return float(found)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class NewTask:
    """A task that prompts are looked for.

    Attributes
    ----------
    name : of the task
    bind : gives its patterns, bound with so many learned vectors before them
    tokens, labels : its labeled texts
    backbone, tokenizer, recipe, accelerator, seed : what a prompt of its own is trained with
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
        """The task's patterns behind so many learned vectors."""
        if length not in self._bound:
            self._bound[length] = self.bind(length)
        return self._bound[length]

    @cached_property
    def query(self) -> Array:
        """A prompt of the task's own, trained for `query_steps` updates on all of its patterns: shape (n, D).

        As in SPoT (arXiv 2110.07904), whose task embedding is an early checkpoint of the target task's prompt.
        """
        recipe = self.recipe.with_settings(steps=self.recipe.library.query_steps, min_epochs=0.0)
        source = Source(self.name, self.patterns(recipe.tuning.config.length), self.tokens, self.labels)
        return train_prompt(self.backbone, self.tokenizer, [source], recipe, self.seed, self.accelerator)[0]

    @cached_property
    def neurons(self) -> Array:
        """The neurons that the query activates."""
        return activated(self.backbone, self.tokenizer, self.query)


def zero_shot(task: NewTask, vectors: Array, tokens: TokenTable, labels: Array) -> tuple[float, float]:
    """Accuracy and cross-entropy of a prompt on labeled texts without training: means over the task's patterns."""
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
    """Put prompts beside a task.

    Parameters
    ----------
    task, prompts : all of the same backbone
    measures : of `MEASURES`
    tried_on : texts and labels for ``zero-shot``; None: those of the task
    on_prompt : told 1 for each prompt that is done

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
    """Best first: by a measure, then by zero-shot loss where it is known, then by name."""

    def key(candidate: Candidate) -> tuple[float, float, str]:
        return -candidate.value(by), candidate.loss if candidate.loss is not None else 0.0, candidate.name

    return sorted(candidates, key=key)


def blend(prompts: Sequence[Prompt], candidates: Sequence[Candidate], by: str) -> tuple[Array, dict[str, float]]:
    """The weighted mean of ranked candidates, and each one's weight.

    Raises
    ------
    PetError
        When they have not all as many vectors.
    """
    by_name = {prompt.name: prompt for prompt in prompts}
    chosen = [by_name[candidate.name] for candidate in candidates]
    lengths = sorted({prompt.length for prompt in chosen})
    if len(lengths) > 1:
        raise PetError(f"prompts of {' and '.join(map(str, lengths))} vectors have no mean; take those of one length")
    weights = normalized_weights([candidate.value(by) for candidate in candidates])
    mean = weighted_mean([prompt.vectors for prompt in chosen], weights)
    return mean, {prompt.name: float(weight) for prompt, weight in zip(chosen, weights, strict=True)}
