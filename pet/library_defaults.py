"""Environment variables that the ``pet`` command sets to override defaults of libraries.

In Python they belong to the program that imports this package. docs/library-defaults.md lists all such defaults.
"""

from __future__ import annotations

import os
import sys

ENVIRONMENT = {
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub adds library versions and a session id to its requests
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # datasets makes additional requests so that the hub can count
}


def set_environment() -> None:
    """Set the variables that the user has not set. Libraries read them when they are imported."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
_BUSY = 0.5  # load: processes that run or wait for a core
_SPINS = "1000"


def bound_spinning() -> None:
    """Keep threads that wait for each other from taking the time of those that compute, unless the user decided.

    By default, OpenMP's threads spin for milliseconds before they sleep. That is fastest on an idle machine, but once
    something else runs, an update takes up to twenty times as long. So let them spin briefly or, if the machine is
    busy already, not at all. The results are the same. OpenMP reads the variables when torch is loaded.
    """
    if "torch" in sys.modules or any(name in os.environ for name in WAITING):
        return
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > _BUSY:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    else:
        os.environ["GOMP_SPINCOUNT"] = _SPINS


# How many compiled operations oneDNN and torch's layer above it keep; the defaults are 1,024 each.
CACHES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128", "LRU_CACHE_CAPACITY": "16"}
_OLD_NAME = "DNNL_PRIMITIVE_CACHE_CAPACITY"


def bound_caches() -> None:
    """Keep torch from storing compiled code for batches that are long gone, unless the user decided.

    The next batch has other shapes and seldom uses it. With these bounds, a small run took the same time and a third
    less memory, and an update of a member, measured alone, a tenth longer (benchmarks/README.md). The results are the
    same. The variables are read at the first use.
    """
    if "torch" not in sys.modules and _OLD_NAME not in os.environ:
        for name, capacity in CACHES.items():
            os.environ.setdefault(name, capacity)
