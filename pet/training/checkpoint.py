"""Checkpoints of a training: weights, the optimizer's state and a record of progress, without pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from pet.errors import PetError
from pet.store.files import hash_file
from pet.store.outputs import writing_folder

WEIGHTS = "model.safetensors"
OPTIMIZER = "optimizer.safetensors"
STATE = "state.json"


def save_checkpoint(
    folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer, progress: Mapping[str, Any]
) -> None:
    """Write a checkpoint; the previous one in this folder is kept until it is complete.

    Parameters
    ----------
    progress : values that JSON can hold, such as the number of updates

    Raises
    ------
    PetError
        If the disk is full or read-only.
    """
    moments = {
        f"{parameter}.{name}": value
        for parameter, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }
    with writing_folder(folder, replace=True) as beside:
        save_file(_on_cpu(dict(module.named_parameters())), beside / WEIGHTS)
        save_file(_on_cpu(moments), beside / OPTIMIZER)
        hashes = {name: hash_file(beside / name) for name in (WEIGHTS, OPTIMIZER)}
        state = {**progress, "sha256": hashes}
        (beside / STATE).write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")


def load_checkpoint(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
    """Restore module and optimizer and return the record of progress; None if there is no checkpoint.

    If the previous process may have been killed, call `pet.store.outputs.restore_folder` first.

    Raises
    ------
    PetError
        If the checkpoint is damaged or belongs to another model.
    """
    if not folder.is_dir():
        return None
    try:
        return _load(folder, module, optimizer)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise PetError(f"{folder}: the checkpoint is damaged ({reason}); delete it to train from the start") from error


def _load(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    for name, recorded in state.pop("sha256", {}).items():  # earlier versions wrote none
        if hash_file(folder / name) != recorded:
            raise ValueError(f"{name} has changed since it was written")
    weights = load_file(folder / WEIGHTS)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if weights[name].shape != parameter.shape:
                raise ValueError(f"it is of another model: {name} has another shape")
            parameter.copy_(weights[name])
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in load_file(folder / OPTIMIZER).items():
        parameter_id, _, name = key.partition(".")
        moments.setdefault(int(parameter_id), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    return dict(state)


def _on_cpu(tensors: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
