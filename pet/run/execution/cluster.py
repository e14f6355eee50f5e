"""The connection to a Ray cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stdout
from typing import Any

from pet.errors import PetError
from pet.extras import install_command
from pet.progress import Reporter
from pet.run.execution.options import Execution

_NEW_CLUSTER = {
    "RAY_USAGE_STATS_ENABLED": "0",  # send no usage statistics
    "RAY_worker_niceness": "0",  # with Ray's default of 15, workers would yield to everything else on the machine
}


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set Ray's variables unless they are set; afterward restore them all, including those that Ray set itself."""
    before = {name: value for name, value in os.environ.items() if _of_ray(name)}
    os.environ.update({**values, **before})
    try:
        yield
    finally:
        for name in filter(_of_ray, list(os.environ)):
            del os.environ[name]
        os.environ.update(before)


def _of_ray(name: str) -> bool:
    return name.startswith("RAY_") or name == "PYTHONBREAKPOINT"


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Let a cluster that is started inside the block listen on 127.0.0.1 only, as Ray does on Windows and macOS.

    Ray has no option for this. Anyone who can reach the ports of a cluster can run code on it.
    """
    from ray._private import ray_constants

    before = getattr(ray_constants, "ENABLE_RAY_CLUSTER", None)
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


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

    def connect(self, reporter: Reporter) -> None:
        """Connect to the cluster, or start one that only this machine can reach.

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
        self._open.enter_context(_environment(_NEW_CLUSTER))
        options: dict[str, Any] = {} if self._address is None else {"address": self._address}
        try:
            with _on_loopback() if self._local else nullcontext():
                ray.init(**options, include_dashboard=False if self._local else None, logging_level="warning")
        except (ConnectionError, ValueError, RuntimeError) as error:
            where = self._address or os.environ.get("RAY_ADDRESS") or "this machine"
            reason = str(error).strip().splitlines()[0][:200]
            raise PetError(f"cannot connect to Ray at {where} ({reason}); check --ray-address") from error
        self._open.callback(ray.shutdown)
        if self._local and not ray.util.get_node_ip_address().startswith("127."):
            reporter.warn(
                "Ray's ports are open on all network interfaces; on a machine that others can reach, close them "
                "with a firewall"
            )

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
