"""P-tuning: learned vectors anywhere in a pattern (Liu et al. 2021, arXiv 2103.10385).

During training a small network produces the vectors; a saved member contains only the vectors. In the paper the vectors
are the network's output. Here the output is added to initial values, so that ``{soft:it was}`` begins as these words
and not as noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pet.errors import PetError
from pet.settings import Settings, setting
from pet.tuning.method import Method, Start
from pet.tuning.vectors import VECTORS, remove_vectors, save_vectors, start_vectors, vectors_of

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from pet.task.task import Task


@dataclass(frozen=True)
class Config(Settings):
    """Settings of p-tuning."""

    title: ClassVar[str] = "Tuning: p-tuning"

    encoder: str = setting(
        "lstm",
        "network that produces the vectors during training: lstm or mlp",
        choices=("lstm", "mlp"),
        name="prompt_encoder",
    )
    tune_backbone: bool = setting(False, "also train the whole model, which is then saved with each member")


def check(config: Config, task: Task, model: PreTrainedModel) -> None:
    """Raise PetError if a pattern has no ``{soft:...}``, or the model does more with a word than look up its vector."""
    from pet.tuning import soft

    soft.word_embedding(model, "p-tuning")
    hard = [pattern for pattern in task.patterns if not pattern.template.is_soft]
    if hard and not config.tune_backbone:
        raise PetError(
            f"{pattern.place or task.name}: pattern {pattern.template.source!r} has no {{soft:...}}, and p-tuning "
            "trains nothing else; add {soft:3} or {soft:some words}, or use --tuning prompt"
            for pattern in hard
        )


def start(model: PreTrainedModel, config: Config, begin: Start) -> None:
    """Add vectors behind a network; they start from words, or from a member."""
    from pet.tuning import networks, soft

    if begin.pvp.encoder.learned:  # with the whole model trained, a pattern may have none
        values = start_vectors(model, begin)
        network = networks.PromptNetwork(values.shape[0], values.shape[1], config.encoder)
        soft.inject(model, networks.Reparameterized(values, network, network.last))


def attach(model: PreTrainedModel, config: Config, arrays: Mapping[str, Tensor]) -> None:
    """Add the vectors of a member."""
    from pet.tuning import networks, soft

    if VECTORS in arrays:
        width = model.get_input_embeddings().weight.shape[1]
        soft.inject(model, networks.Numbers(vectors_of(arrays, model, None, width)))


METHOD = Method(
    name="p-tuning",
    rate_factor=20,
    config=Config,
    start=start,
    attach=attach,
    save=save_vectors,
    restore=remove_vectors,
    encoder_options=lambda config: {"soft": True},
    check=check,
    trains_backbone=lambda config: config.tune_backbone,
)
