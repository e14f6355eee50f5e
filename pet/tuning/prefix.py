"""Prefix tuning: learned keys and values in every layer (Li and Liang 2021, arXiv 2101.00190)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pet.settings import Settings, setting
from pet.tuning.method import Method, Start
from pet.tuning.vectors import copy_of, remove_vectors, save_vectors, start_generator, start_ids, uniform, vectors_of

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from pet.task.task import Task


@dataclass(frozen=True)
class Config(Settings):
    """Settings of prefix tuning."""

    title: ClassVar[str] = "Tuning: prefix"

    length: int = setting(
        10, "number of learned keys and values in every layer", low=1, high=10**4, name="prefix_length"
    )
    hidden: int = setting(
        512,
        "width of the network that produces keys and values during training",
        low=1,
        high=10**5,
        name="prefix_hidden",
    )


def check(config: Config, task: Task, model: PreTrainedModel) -> None:
    """Raise PetError if the model's attention or word embedding is not supported."""
    from pet.tuning import prefix_layers, soft

    prefix_layers.check_model(model)
    soft.word_embedding(model, "prefix")


def start(model: PreTrainedModel, config: Config, begin: Start) -> None:
    """Add a prefix behind a network; it starts from words, or from a member."""
    from pet.tuning import networks, prefix_layers

    values = _start_values(model, begin)
    network = networks.KeyValueNetwork(len(values), values[0].numel(), config.hidden)
    prefix_layers.inject(model, networks.Reparameterized(values, network, network.last))


def _start_values(model: PreTrainedModel, begin: Start) -> Tensor:
    """Return keys and values of words, a good start (arXiv 2101.00190, section 7.4), of a member, or random ones."""
    from pet.tuning import prefix_layers

    device = model.get_input_embeddings().weight.device
    if begin.before is not None:
        return copy_of(begin.before, device)
    generator = start_generator(begin)
    ids = start_ids(begin.pvp, begin.settings, begin.tables, generator)
    values = prefix_layers.keys_and_values(model, [token or 0 for token in ids])
    if begin.settings.init == "random":
        values = uniform(values.shape, begin.settings.range, generator).to(values.device)
    return values


def attach(model: PreTrainedModel, config: Config, arrays: Mapping[str, Tensor]) -> None:
    """Add the prefix of a member, without the network."""
    from pet.tuning import networks, prefix_layers

    layers = getattr(model.config, "num_hidden_layers", None)
    prefix_layers.inject(model, networks.Numbers(vectors_of(arrays, model, None, layers, 2, None)))


METHOD = Method(
    name="prefix",
    rate_factor=20,
    config=Config,
    start=start,
    attach=attach,
    save=save_vectors,
    restore=remove_vectors,
    encoder_options=lambda config: {"before": config.length},
    check=check,
)
