"""Full fine-tuning: all weights of the model are trained, and each member is a model of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pet.tuning.method import Method, NoSettings, Start

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


def start(model: PreTrainedModel, config: NoSettings, begin: Start) -> None:
    """Train all weights."""
    model.requires_grad_(True)


def attach(model: PreTrainedModel, config: NoSettings, arrays: Mapping[str, Tensor]) -> None:
    """Do nothing: the model is the member."""


def save(model: PreTrainedModel) -> dict[str, Tensor]:
    """Return nothing: the model itself is saved with ``save_pretrained``."""
    return {}


def restore(model: PreTrainedModel) -> None:
    """Do nothing: such a model is never shared."""


METHOD = Method(
    name="full",
    rate_factor=1,
    config=NoSettings,
    start=start,
    attach=attach,
    save=save,
    restore=restore,
    trains_backbone=lambda config: True,
    trains_layers=True,
)
