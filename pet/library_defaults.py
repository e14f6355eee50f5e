"""Environment variables that the ``pet`` command sets to override defaults of libraries.

In Python they belong to the program that imports this package. docs/library-defaults.md lists all such defaults.
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

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


THREADS = "OMP_NUM_THREADS"


def bound_threads(root: Path = Path("/")) -> None:
    """Compute with no more threads than cores that a container may use, unless the user decided.

    OpenMP counts the cores of the machine. Once its threads have used the time that the container has, the system stops
    all of them until the next tenth of a second. OpenMP reads the variable when torch is loaded.

    Parameters
    ----------
    root : the folder above ``proc`` and ``sys``
    """
    if "torch" in sys.modules or THREADS in os.environ or "MKL_NUM_THREADS" in os.environ:
        return
    allowed = allowed_cores(root)
    if allowed is not None and allowed < (usable_cores() or 1):
        os.environ[THREADS] = str(allowed)


def usable_cores() -> int | None:
    """Return the number of logical cores that this process may run on; None if it is unknown."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def allowed_cores(root: Path = Path("/")) -> int | None:
    """Return how many cores' time this process may use, rounded up; None without a limit.

    Containers and batch systems limit it with a control group of Linux (version 1 or 2), or one of the groups above.

    Parameters
    ----------
    root : the folder above ``proc`` and ``sys``
    """
    limits = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / controllers
        group = top / path.lstrip("/")
        limits += [_limit(place) for place in (group, *group.parents) if place.is_relative_to(top)]
    found = [limit for limit in limits if limit is not None]
    return max(1, math.ceil(min(found))) if found else None


def _limit(group: Path) -> float | None:
    """Return the processor time per time of a control group; None without a limit."""
    words = _read(group / "cpu.max").split() or [
        word for name in ("quota", "period") for word in _read(group / f"cpu.cfs_{name}_us").split()
    ]
    numbers = [int(word) for word in words if word.isdecimal()]  # otherwise "max", or -1
    return numbers[0] / numbers[1] if len(numbers) == 2 and numbers[1] else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


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
