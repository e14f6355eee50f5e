"""Options for where members are trained and scored."""

from __future__ import annotations

from dataclasses import dataclass

from pet.errors import PetError
from pet.settings import out_of_range

EXECUTORS = ("local", "ray")


@dataclass(frozen=True)
class Execution:
    """Where members are trained and scored. This does not affect a run's files, so it is not one of its settings.

    Attributes
    ----------
    executor : one of `EXECUTORS`
    workers : number of members at a time; default: one per GPU, or 1 without a GPU; on Ray, as many as fit
    worker_cpus : threads per worker; on Ray, also the CPUs it requests; default: an equal share of this process's
        threads, or 1 on Ray
    worker_gpus : GPUs that each worker requests on Ray; default: 1 if the cluster has any
    ray_address : address of a cluster; default: RAY_ADDRESS, a cluster running on this machine, or a new one
    """

    executor: str = "local"
    workers: int | None = None
    worker_cpus: int | None = None
    worker_gpus: float | None = None
    ray_address: str | None = None

    def __post_init__(self) -> None:
        problems = []
        if self.executor not in EXECUTORS:
            problems.append(f"executor {self.executor!r} is unknown; choose one of {', '.join(EXECUTORS)}")
        problems += out_of_range(self, {"workers": (1, 1000), "worker_cpus": (1, 10_000), "worker_gpus": (0, 1000)})
        if self.executor != "ray":
            alone = [name for name in ("worker_gpus", "ray_address") if getattr(self, name) is not None]
            problems += [f"--{name.replace('_', '-')} requires --executor ray" for name in alone]
        if problems:
            raise PetError(problems)
