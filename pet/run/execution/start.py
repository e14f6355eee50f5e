"""Choose the executor of a run."""

from __future__ import annotations

from pet.errors import PetError
from pet.run.execution.data_parallel import DataParallel
from pet.run.execution.executor import Executor, InProcess
from pet.run.execution.on_ray import OnRay
from pet.run.execution.options import Execution
from pet.run.execution.workers import Workers, gpus_for
from pet.training.group import Group


def make_executor(execution: Execution, device: str, group: Group | None = None) -> Executor:
    """Return the executor for a run.

    Parameters
    ----------
    execution : the user's options
    device : device of the run, as in ``--device``
    group : processes that train each member together with this one

    Raises
    ------
    PetError
        If Ray is requested but not installed, if several workers would share one named device, or if workers are
        combined with a group.
    """
    if group is not None:
        if execution != Execution():
            raise PetError(
                f"{group.size} processes were launched together (torchrun, accelerate launch) and train each member "
                "together; drop --executor and --workers, or launch one process"
            )
        return DataParallel(group)
    if execution.executor == "ray":
        return OnRay(execution)
    gpus = gpus_for(device)
    count = execution.workers or max(1, len(gpus))
    if count == 1 and execution.worker_cpus is None:
        return InProcess()
    kind, _, number = device.partition(":")
    if count > 1 and (number or kind not in ("auto", "cpu", "cuda")):
        raise PetError(f"--device {device} is one device, but --workers {count} requires several; drop one of them")
    return Workers(count, execution.worker_cpus, gpus)
