"""Optional dependencies: which extra installs them, and the command that does."""

from __future__ import annotations

import importlib.util

# The name on the package index, where `pet` is another project.
DISTRIBUTION = "pattern-exploiting-training"
# Experiment tracker and its module -> the packages to install. The package mlflow does not allow pandas 3; its small
# version leaves out what its default, a database in a file, needs.
TRACKERS = {
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "mlflow": "mlflow-skinny sqlalchemy alembic",
    "trackio": "trackio",
}


def install_command(extra: str) -> str:
    """Return the command that installs one of the package's extras.

    Examples
    --------
    >>> install_command("lora")
    "pip install 'pattern-exploiting-training[lora]'"
    """
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def tracker_command(name: str) -> str:
    """Return the command that installs a tracker.

    Examples
    --------
    >>> tracker_command("mlflow")
    'pip install mlflow-skinny sqlalchemy alembic'
    """
    return f"pip install {TRACKERS[name]}"


def is_installed(module: str) -> bool:
    """Return True if a top-level module can be imported; it is not imported."""
    return importlib.util.find_spec(module) is not None
