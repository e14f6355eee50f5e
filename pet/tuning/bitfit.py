"""BitFit: the biases learn, and nothing else (Ben Zaken et al. 2022, arXiv 2106.10199)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pet.errors import PetError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


def biases(model: PreTrainedModel) -> dict[str, nn.Parameter]:
    """Name -> parameter of every bias, those of normalisations and of the output layer included."""
    return {name: parameter for name, parameter in model.named_parameters() if name.endswith("bias")}


def check_biases(model: PreTrainedModel) -> None:
    """Refuse a model that has no biases, as T5 and Llama."""
    if not biases(model):
        raise PetError(f"--tuning bitfit: a {model.config.model_type} model like this one has no biases; use prompt")


def inject(model: PreTrainedModel) -> None:
    """Let the biases of a frozen model learn."""
    check_biases(model)
    for parameter in biases(model).values():
        parameter.requires_grad = True
