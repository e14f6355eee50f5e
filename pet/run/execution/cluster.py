"""The connection to a Ray cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack, redirect_stdout
from typing import Any

from pet.errors import PetError
from pet.extras import install_command
from pet.progress import Reporter
from pet.run.execution.options import Execution


class Cluster:
    """A connection to Ray. `close` ends it only if `connect` started it.

    Parameters
    ----------
    address : address of a running cluster; default: RAY_ADDRESS, a cluster on this machine, or a new one

    Raises
    ------
    PetError
        If Ray is not installed.
    """

    def __init__(self, address: str | None = None):
        self._address = address
        self._open = ExitStack()
        try:
            import ray  # noqa: F401
        except ImportError as error:
            cure = install_command("ray")
            raise PetError(f"--executor ray requires Ray ({error}); install it with: {cure}") from None

    def connect(self) -> None:
        """Connect to the cluster, or start one.

        Raises
        ------
        PetError
            If no cluster answers at the address.
        """
        import ray

        # Ray reports lost workers on standard output, which is reserved for results.
        self._open.enter_context(redirect_stdout(sys.stderr))
        if ray.is_initialized():
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # send no usage statistics
        # For a new cluster: with Ray's default of 15, workers would yield to everything else on the machine.
        os.environ.setdefault("RAY_worker_niceness", "0")
        options: dict[str, Any] = {} if self._address is None else {"address": self._address}
        try:
            ray.init(**options, include_dashboard=False if self._local else None, logging_level="warning")
        except (ConnectionError, ValueError, RuntimeError) as error:
            where = self._address or os.environ.get("RAY_ADDRESS") or "this machine"
            reason = str(error).strip().splitlines()[0][:200]
            raise PetError(f"cannot connect to Ray at {where} ({reason}); check --ray-address") from error
        self._open.callback(ray.shutdown)

    @property
    def _local(self) -> bool:
        return self._address is None and "RAY_ADDRESS" not in os.environ

    def resources(self, execution: Execution, device: str, reporter: Reporter) -> dict[str, float]:
        """Return what each worker requests, as Ray's ``num_cpus`` and ``num_gpus``.

        A cluster may grow, so requesting more than it has is only a warning.
        """
        import ray

        there = ray.cluster_resources()
        gpus = execution.worker_gpus
        if gpus is None:
            gpus = 0 if device == "cpu" else min(1, int(there.get("GPU", 0)))
        wanted: dict[str, float] = {"num_cpus": execution.worker_cpus or 1, "num_gpus": gpus}
        for name, count in (("CPU", wanted["num_cpus"]), ("GPU", gpus)):
            largest = max((node["Resources"].get(name, 0) for node in ray.nodes() if node["Alive"]), default=0)
            if count > largest:
                known = f"no machine in the Ray cluster has {count:g} {name}s (largest: {largest:g})"
                reporter.warn(f"{known}; waiting until one joins")
        return wanted

    def actors(self, execution: Execution, resources: Mapping[str, float]) -> int:
        """Return the number of workers: as requested, or as many as fit now."""
        import ray

        if execution.workers is not None:
            return execution.workers
        there = ray.cluster_resources()
        wanted = {"CPU": resources["num_cpus"], "GPU": resources["num_gpus"]}
        return max(1, int(min(there.get(name, 0) // count for name, count in wanted.items() if count)))

    def close(self) -> None:
        """End the connection, and the cluster if this process started it."""
        self._open.close()
