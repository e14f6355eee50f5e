"""Checkpoints: weights, optimizer and place in the data, without pickle, there in whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def save(folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Write a checkpoint beside `folder` and put it in its place."""
    beside = folder.with_name(folder.name + ".new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    save_file(
        {name: p.detach().contiguous().cpu() for name, p in model.named_parameters()},
        beside / "model.safetensors",
    )
    moments = {
        f"{name}.{key}": optimizer.state[p][key].detach().contiguous().cpu()
        for name, p in model.named_parameters()
        for key in _MOMENTS
        if p in optimizer.state
    }
    save_file(moments, beside / "optimizer.safetensors")
    (beside / "state.json").write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(beside, folder)
    shutil.rmtree(old, ignore_errors=True)


def load(folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
    """Put a checkpoint into model and optimizer; None if there is none."""
    if not folder.exists():  # killed between the two renames of `save`
        for spare in (folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")):
            if (spare / "state.json").exists():
                os.replace(spare, folder)
                break
        else:
            return None
    weights = load_file(folder / "model.safetensors")
    moments = load_file(folder / "optimizer.safetensors")
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(weights[name])
            found = {key: moments[f"{name}.{key}"] for key in _MOMENTS if f"{name}.{key}" in moments}
            if found:
                optimizer.state[p] = {key: t.to(p.device) if key != "step" else t for key, t in found.items()}
    state: dict[str, Any] = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    return state
