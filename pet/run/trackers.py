"""Which experiment trackers there are, whether they are installed, and how each is started."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pet.errors import PetError
from pet.extras import TRACKERS, is_installed, tracker_command
from pet.resources import expand

PROJECT = "pet"
_LOGINS = ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that are unknown or not installed.

    Raises
    ------
    PetError
        With every such tracker.
    """
    problems = [f"--track {name}: trackers are {', '.join(TRACKERS)}" for name in names if name not in TRACKERS]
    problems += [
        f"--track {name}: is not installed; install it with: {tracker_command(name)}"
        for name in names
        if name in TRACKERS and not is_installed(name)
    ]
    if problems:
        raise PetError(problems)


def tracker_arguments(name: str, folder: Path) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the positional and keyword arguments of accelerate's tracker of this name.

    Libraries that would also send the command line, the terminal's output, or reports about themselves are told not to.

    Parameters
    ----------
    name : one of `pet.extras.TRACKERS`, which is installed
    folder : of the run; its name is that of the tracked run
    """
    if name == "tensorboard":
        return ("tensorboard", str(folder)), {}
    if name == "mlflow":
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is imported
        return (PROJECT,), {"run_name": folder.name}
    if name == "trackio":
        return (PROJECT,), {"name": folder.name}
    import wandb

    private = {"console": "off", "disable_git": True, "disable_code": True}
    private |= {"x_disable_meta": True, "x_save_requirements": False}
    settings = wandb.Settings(**{key: value for key, value in private.items() if key in wandb.Settings.model_fields})
    named: dict[str, Any] = {"name": folder.name, "dir": str(folder), "settings": settings}
    return (PROJECT,), named if knows_wandb() else {**named, "mode": "offline"}


def knows_wandb() -> bool:
    """Return True if Weights & Biases has a mode or a login; otherwise it would ask for one."""
    if any(os.environ.get(name) for name in _LOGINS):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    for place in (os.environ.get("NETRC") or "~/.netrc", "~/_netrc"):
        try:
            if host in expand(place).read_text(encoding="utf-8", errors="replace").split():
                return True
        except OSError:
            continue
    return False
