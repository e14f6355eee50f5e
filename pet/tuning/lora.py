"""LoRA: low-rank updates beside the attention's query and value matrices (Hu et al. 2022, arXiv 2106.09685).

The layers come from the library peft. They are injected into the model and never merged, so that many members share
one model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from pet.errors import PetError
from pet.extras import install_command, is_installed
from pet.settings import Settings, setting
from pet.tuning.method import Method, Start, fill, trained_parameters

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from pet.task.task import Task

# Models that give the weights of these matrices to a kernel, which does not see the updates beside them.
_STATE_SPACE = {"falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h"}
_READ_BY_KERNELS = {"dt_proj", "out_proj", "x_proj"}


@dataclass(frozen=True)
class Config(Settings):
    """Settings of LoRA: h = W x + alpha / rank * B A dropout(x)."""

    title: ClassVar[str] = "Tuning: lora"

    rank: int = setting(8, "rank of the update of each matrix", low=1, high=10**4, name="lora_rank")
    alpha: float = setting(
        16.0, "the update is multiplied by lora_alpha / lora_rank", low=1e-6, high=1e6, name="lora_alpha"
    )
    dropout: float = setting(0.1, "dropout on the input of the update", low=0, high=0.99, name="lora_dropout")
    targets: str = setting(
        "attention",
        "matrices to update: attention (queries and values), all, or the ends of their names, such as "
        "query,key,output.dense",
        name="lora_targets",
    )


def check_peft() -> None:
    """Raise PetError if peft is not installed."""
    if not is_installed("peft"):
        raise PetError(f"--tuning lora requires the library peft; install it with: {install_command('lora')}")


def check(config: Config, task: Task, model: PreTrainedModel) -> None:
    """Raise PetError if peft is not installed or the model has no such matrices."""
    check_peft()
    find_targets(model, config.targets)


def inject(model: PreTrainedModel, config: Config) -> None:
    """Add trainable matrices A (random) and B (zero) to a frozen model."""
    check_peft()
    import torch.distributed
    from peft import LoraConfig, inject_adapter_in_model
    from transformers.pytorch_utils import Conv1D

    if torch.distributed.is_available():
        import torch.distributed.tensor  # peft asks whether weights are of its type, and does not import it

    names = find_targets(model, config.targets)
    transposed = isinstance(model.get_submodule(names[0]), Conv1D)  # GPT-2
    inject_adapter_in_model(
        LoraConfig(
            r=config.rank,
            lora_alpha=config.alpha,
            lora_dropout=config.dropout,
            target_modules=names,
            fan_in_fan_out=transposed,
        ),
        model,
    )


def find_targets(model: PreTrainedModel, targets: str) -> list[str]:
    """Return the names of the matrices to update.

    Parameters
    ----------
    model : without LoRA layers
    targets : ``attention`` (queries and values, as in the paper), ``all`` (every matrix below the head), or ends of
        names separated by commas, such as ``query,key,output.dense``

    Raises
    ------
    PetError
        If a name matches no matrix; the message lists the names that exist.
    """
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    from pet.tuning.attention import find_projections

    if targets == "attention":
        found: list[str] = []
        for attention in find_projections(model, "lora"):
            found += [attention.names[0], attention.names[2]] if len(attention.names) == 3 else attention.names
        return found
    body = {id(module) for module in model.base_model.modules()} - {id(model.get_output_embeddings())}
    linear = [name for name, m in model.named_modules() if isinstance(m, (nn.Linear, Conv1D)) and id(m) in body]
    if model.config.model_type in _STATE_SPACE:
        linear = [name for name in linear if name.rpartition(".")[2] not in _READ_BY_KERNELS]
    if targets == "all":
        return linear
    wanted = [target.strip() for target in targets.split(",")]
    chosen = {target: [name for name in linear if f".{name}".endswith(f".{target}")] for target in wanted}
    if missing := [target for target, names in chosen.items() if not names]:
        known = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
        raise PetError(
            f"lora_targets: no matrix of this {model.config.model_type} model is called "
            f"{', '.join(map(repr, missing))}; names end in {known}; or use attention or all"
        )
    return list(dict.fromkeys(name for names in chosen.values() for name in names))


def start(model: PreTrainedModel, config: Config, begin: Start) -> None:
    """Add LoRA layers, and continue from a member if there is one."""
    inject(model, config)
    if begin.before is not None:
        fill(model, begin.before)


def attach(model: PreTrainedModel, config: Config, arrays: Mapping[str, Tensor]) -> None:
    """Add the LoRA layers of a member."""
    inject(model, replace(config, dropout=0.0))
    fill(model, arrays)


def restore(model: PreTrainedModel) -> None:
    """Put the plain layers back."""
    for name, module in list(model.named_modules()):
        plain = getattr(module, "base_layer", None)
        if plain is not None:
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, plain)
    vars(model).pop("peft_config", None)


METHOD = Method(
    name="lora",
    rate_factor=10,
    config=Config,
    start=start,
    attach=attach,
    save=trained_parameters,
    restore=restore,
    check=check,
    trains_layers=True,
)
