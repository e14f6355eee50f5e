"""LoRA: a change of low rank beside the attention's query and value matrices (Hu et al. 2022, arXiv 2106.09685).

The layers are those of the library peft, put into the model where it is; they are not merged, so that one backbone
serves many members.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from transformers.pytorch_utils import Conv1D

from pet.errors import PetError
from pet.tuning.attention import find_projections

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def check_peft() -> None:
    """Refuse LoRA where its library is not there."""
    if importlib.util.find_spec("peft") is None:
        raise PetError("--tuning lora needs the library peft, which is not installed: pip install 'pet[lora]'")


def inject(model: PreTrainedModel, rank: int, alpha: float, dropout: float) -> None:
    """Put fresh matrices A (random) and B (zero) into a frozen model: h = W x + alpha / rank * B A x."""
    check_peft()
    from peft import LoraConfig, inject_adapter_in_model

    targets: list[str] = []
    turned = False
    for attention in find_projections(model, "lora"):
        targets += [attention.names[0], attention.names[2]] if len(attention.names) == 3 else attention.names
        turned = isinstance(attention.linear[0], Conv1D)  # GPT-2's matrices are the other way round
    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=targets, fan_in_fan_out=turned
    )
    inject_adapter_in_model(config, model)


def remove(model: PreTrainedModel) -> None:
    """Put the plain layers back."""
    for name, module in list(model.named_modules()):
        plain = getattr(module, "base_layer", None)
        if plain is not None:
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, plain)
    vars(model).pop("peft_config", None)
