"""LoRA: a change of low rank beside the attention's query and value matrices (Hu et al. 2022, arXiv 2106.09685).

The layers are those of the library peft, put into the model where it is; they are not merged, so that one backbone
serves many members.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from transformers.pytorch_utils import Conv1D

from pet.errors import PetError
from pet.extras import install_command, is_installed
from pet.tuning.attention import find_projections

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def check_peft() -> None:
    """Raise PetError if peft is not installed."""
    if not is_installed("peft"):
        raise PetError(f"--tuning lora requires the library peft; install it with: {install_command('lora')}")


def inject(model: PreTrainedModel, rank: int, alpha: float, dropout: float, targets: str = "attention") -> None:
    """Put fresh matrices A (random) and B (zero) into a frozen model: h = W x + alpha / rank * B A x.

    Parameters
    ----------
    model, rank, alpha, dropout : as in the formula; dropout is that of x
    targets : which matrices W, see `find_targets`
    """
    check_peft()
    from peft import LoraConfig, inject_adapter_in_model

    names = find_targets(model, targets)
    turned = isinstance(model.get_submodule(names[0]), Conv1D)  # GPT-2's matrices are the other way round
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=names, fan_in_fan_out=turned)
    inject_adapter_in_model(config, model)


def find_targets(model: PreTrainedModel, targets: str) -> list[str]:
    """The matrices that get a change beside them.

    Parameters
    ----------
    model : without changes
    targets : ``attention`` (queries and values, as in the paper), ``all`` (every matrix below the head), or the last
        parts of names with commas between them, as in ``query,key,output.dense``

    Returns
    -------
    list of str: names within the model

    Raises
    ------
    PetError
        Naming what there is, when a name is that of no matrix.
    """
    if targets == "attention":
        found: list[str] = []
        for attention in find_projections(model, "lora"):
            found += [attention.names[0], attention.names[2]] if len(attention.names) == 3 else attention.names
        return found
    body = {id(module) for module in model.base_model.modules()} - {id(model.get_output_embeddings())}
    linear = [name for name, m in model.named_modules() if isinstance(m, (nn.Linear, Conv1D)) and id(m) in body]
    if targets == "all":
        return linear
    wanted = [target.strip() for target in targets.split(",")]
    chosen = {target: [name for name in linear if f".{name}".endswith(f".{target}")] for target in wanted}
    if missing := [target for target, names in chosen.items() if not names]:
        known = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
        raise PetError(
            f"lora_targets: no matrix of this {model.config.model_type} model is called "
            f"{', '.join(map(repr, missing))}; names end in {known}; or give attention or all"
        )
    return list(dict.fromkeys(name for names in chosen.values() for name in names))


def remove(model: PreTrainedModel) -> None:
    """Put the plain layers back."""
    for name, module in list(model.named_modules()):
        plain = getattr(module, "base_layer", None)
        if plain is not None:
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, plain)
    vars(model).pop("peft_config", None)
