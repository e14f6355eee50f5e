"""BitFit: only the biases are trained (Ben Zaken et al. 2022, arXiv 2106.10199)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pet.errors import PetError
from pet.tuning.method import Method, NoSettings, Start, fill, trained_parameters

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from pet.task.task import Task

_PRETRAINED = "_pretrained_biases"  # attribute of a model whose biases a member has replaced


def biases(model: PreTrainedModel) -> dict[str, nn.Parameter]:
    """Return name -> parameter of every bias, including those of normalizations and of the output layer."""
    return {name: parameter for name, parameter in model.named_parameters() if name.endswith("bias")}


def check(config: NoSettings, task: Task, model: PreTrainedModel) -> None:
    """Raise PetError if the model has no biases, as T5 and Llama."""
    if not biases(model):
        raise PetError(f"--tuning bitfit: this {model.config.model_type} model has no biases; use --tuning prompt")


def start(model: PreTrainedModel, config: NoSettings, begin: Start) -> None:
    """Train the biases of a frozen model."""
    _keep(model)
    for parameter in biases(model).values():
        parameter.requires_grad = True
    if begin.before is not None:
        fill(model, begin.before)


def attach(model: PreTrainedModel, config: NoSettings, arrays: Mapping[str, Tensor]) -> None:
    """Give a model the biases of a member."""
    _keep(model)
    fill(model, arrays)


def restore(model: PreTrainedModel) -> None:
    """Give the model its pretrained biases back."""
    fill(model, vars(model).pop(_PRETRAINED, {}))


def _keep(model: PreTrainedModel) -> None:
    """Remember the pretrained biases."""
    if _PRETRAINED not in vars(model):
        vars(model)[_PRETRAINED] = {name: value.detach().clone() for name, value in biases(model).items()}


METHOD = Method(
    name="bitfit",
    rate_factor=20,
    config=NoSettings,
    start=start,
    attach=attach,
    save=trained_parameters,
    restore=restore,
    check=check,
    trains_layers=True,
)
