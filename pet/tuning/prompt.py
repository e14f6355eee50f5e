"""Prompt tuning: learned vectors in front of the text (Lester et al. 2021, arXiv 2104.08691)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pet.settings import Settings, setting
from pet.tuning.method import Method, Start
from pet.tuning.vectors import remove_vectors, save_vectors, start_vectors, vectors_of

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from pet.task.task import Task


@dataclass(frozen=True)
class Config(Settings):
    """Settings of prompt tuning."""

    title: ClassVar[str] = "Tuning: prompt"

    length: int = setting(20, "number of learned vectors in front of the text", low=1, high=10**4, name="prompt_length")


def check(config: Config, task: Task, model: PreTrainedModel) -> None:
    """Raise PetError if the model does more with a word than look up its vector."""
    from pet.tuning import soft

    soft.word_embedding(model, "prompt")


def inject(model: PreTrainedModel, values: Tensor) -> None:
    """Add learned vectors to a frozen model.

    Parameters
    ----------
    model : the model
    values : initial values, shape (n, D)
    """
    from pet.tuning import networks, soft

    soft.inject(model, networks.Numbers(values))


def start(model: PreTrainedModel, config: Config, begin: Start) -> None:
    """Add vectors that start from words, or from a member."""
    inject(model, start_vectors(model, begin))


def attach(model: PreTrainedModel, config: Config, arrays: Mapping[str, Tensor]) -> None:
    """Add the vectors of a member."""
    inject(model, vectors_of(arrays, model, None, model.get_input_embeddings().weight.shape[1]))


METHOD = Method(
    name="prompt",
    rate_factor=30,
    config=Config,
    start=start,
    attach=attach,
    save=save_vectors,
    restore=remove_vectors,
    encoder_options=lambda config: {"before": config.length},
    check=check,
)
