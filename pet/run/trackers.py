"""Which experiment trackers there are, and whether they are installed."""

from __future__ import annotations

from collections.abc import Sequence

from pet.errors import PetError
from pet.extras import is_installed

TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")  # each is the name of its package, too


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that are unknown or not installed.

    Raises
    ------
    PetError
        With every such tracker.
    """
    problems = [f"--track {name}: trackers are {', '.join(TRACKERS)}" for name in names if name not in TRACKERS]
    problems += [
        f"--track {name}: requires {name}: pip install {name}"
        for name in names
        if name in TRACKERS and not is_installed(name)
    ]
    if problems:
        raise PetError(problems)
