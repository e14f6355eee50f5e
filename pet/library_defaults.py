"""Environment variables that the ``pet`` command sets to override defaults of libraries.

In Python they belong to the program that imports this package. docs/library-defaults.md lists all such defaults.
"""

from __future__ import annotations

import os

ENVIRONMENT = {
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub adds library versions and a session id to its requests
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # datasets makes additional requests so that the hub can count
}


def set_environment() -> None:
    """Set the variables that the user has not set. Libraries read them when they are imported."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
