"""Train and score members as tasks of a Ray cluster, on one machine or on several with shared storage."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pet.errors import PetError
from pet.progress import Reporter
from pet.run.context import RunContext
from pet.run.execution.cluster import Cluster
from pet.run.execution.options import Execution
from pet.run.execution.payload import Payload, read_payload
from pet.run.execution.work import TRIES, MemberWork, Step, WorkQueue, lost_too_often, make_step
from pet.training.memory import own_process

_opened: dict[str, RunContext] = {}  # in a worker process, which Ray reuses for several tasks


class OnRay:
    """Makes members in Ray tasks. Ray repeats a lost task, if necessary on another machine."""

    def __init__(self, execution: Execution):
        self._execution = execution
        self._cluster = Cluster(execution.ray_address)
        self._payload = Payload()

    def make(self, context: RunContext, works: Sequence[MemberWork]) -> None:
        work_queue = WorkQueue(context, works)
        steps = work_queue.next()
        if steps is None:
            return
        self._cluster.connect(context.reporter)
        import ray

        resources = self._cluster.resources(self._execution, context.settings.device, context.reporter)
        task = ray.remote(**resources, max_retries=TRIES - 1)(_make)
        payload = self._payload.of(context, self._execution.worker_cpus or 1)
        arguments = (str(payload), "quiet" if context.reporter.mode == "quiet" else "plain")
        running: dict[Any, list[Step]] = {}
        try:
            while steps is not None or running:
                while steps is not None:
                    running[task.remote(*arguments, steps[0].to_dict())] = steps
                    full = self._execution.workers is not None and len(running) >= self._execution.workers
                    steps = None if full else work_queue.next()
                (ready, *_), _ = ray.wait(list(running), num_returns=1)
                done = running.pop(ready)
                work_queue.keep(done, _answer(ready, done[0].name))
                steps = work_queue.next()
        except BaseException:
            for reference in running:
                ray.cancel(reference, force=True)
            raise

    def release(self) -> None:
        pass  # a task frees its devices when it ends

    def close(self) -> None:
        self._cluster.close()
        self._payload.close()


def _answer(reference: Any, name: str) -> dict[str, Any]:
    """Return the result of a task; PetError if Ray has given up on it."""
    import ray

    try:
        answer: dict[str, Any] = ray.get(reference)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError) as error:
        raise lost_too_often(name, str(error).strip().splitlines()[0]) from error
    return answer


def _make(payload: str, mode: Any, step: dict[str, Any]) -> dict[str, Any]:
    """Make one stage in a worker of the cluster."""
    place = Path(payload)
    if not place.is_dir():
        # The folder's name is unique, so it cannot be confused with another one.
        return {
            "problems": [
                f"{place.parent}: machine {platform.node()} of the Ray cluster does not have this folder; set -o to a "
                "folder on shared storage that every machine mounts at the same path"
            ]
        }
    if payload not in _opened:
        _opened.clear()
        try:
            _opened[payload] = read_payload(place, Reporter(mode))
        except PetError as error:
            return {"problems": error.problems}
    with own_process():
        return make_step(_opened[payload], Step.from_dict(step))
