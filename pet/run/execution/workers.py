"""Train and score members in several processes on this machine, each with a GPU or a share of the CPUs."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import IO, Any

from pet.run.context import RunContext
from pet.run.execution.payload import Payload
from pet.run.execution.work import MemberWork, Step, WorkQueue

# Workers get the search path of this process, which may differ from that of the environment.
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from pet.run.execution.worker import main; main()"


def gpus_for(device: str) -> list[str]:
    """Return the GPUs that a run on this device may use, as named in CUDA_VISIBLE_DEVICES."""
    import torch

    if device not in ("auto", "cuda") or not torch.cuda.is_available():
        return []
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    count = torch.cuda.device_count()
    return named[:count] if len(named) >= count else [str(number) for number in range(count)]


def gpu_of(number: int, gpus: Sequence[str]) -> str | None:
    """Return the GPU of a worker: GPUs are assigned in turn. None without GPUs."""
    return gpus[number % len(gpus)] if gpus else None


class Workers:
    """Worker processes, started by the first `make` and reused by the next.

    Parameters
    ----------
    count : number of workers
    threads : CPU threads of each worker; default: an equal share of this process's threads
    gpus : GPUs, assigned in turn; if empty, workers compute on the CPU
    """

    def __init__(self, count: int, threads: int | None, gpus: Sequence[str]):
        self._count, self._threads, self._gpus = count, threads, list(gpus)
        self._payload = Payload()
        self._workers: dict[int, _Worker] = {}
        self._events: queue.Queue[tuple[_Worker, dict[str, Any] | None]] = queue.Queue()

    def make(self, context: RunContext, works: Sequence[MemberWork]) -> None:
        work_queue = WorkQueue(context, works)
        busy: dict[int, list[Step]] = {}
        try:
            while True:
                for number in range(self._count):
                    if number not in busy and (steps := work_queue.next()) is not None:
                        self._worker(number, context).send(steps[0].to_dict())
                        busy[number] = steps
                if not busy:
                    return
                worker, answer = self._events.get()
                if self._workers.get(worker.number) is not worker:
                    continue  # from a worker that has been replaced
                if answer is None:
                    del self._workers[worker.number]
                    if worker.number in busy:
                        work_queue.lost(busy.pop(worker.number), worker.how_it_ended())
                elif "said" in answer:
                    self._tell(context, worker, answer["said"])
                elif "failed" in answer:
                    raise RuntimeError(f"worker {worker.number} failed:\n{answer['failed']}")
                else:
                    work_queue.keep(busy.pop(worker.number), answer)
        except BaseException:
            self._stop()  # nobody needs their results anymore
            raise

    def release(self) -> None:
        if self._gpus:
            self._stop()

    def close(self) -> None:
        self._stop()
        self._payload.close()

    def _stop(self) -> None:
        for worker in self._workers.values():
            worker.end()
        self._workers.clear()

    def _worker(self, number: int, context: RunContext) -> _Worker:
        if number not in self._workers:
            import torch

            if self._gpus:
                torch.cuda.empty_cache()  # the first worker shares a GPU with this process
            threads = self._threads or (None if self._gpus else max(1, torch.get_num_threads() // self._count))
            payload = self._payload.of(context, threads)
            self._workers[number] = _Worker(number, self._environment(number), self._events)
            mode = "quiet" if context.reporter.mode == "quiet" else "plain"
            self._workers[number].send({"payload": str(payload), "mode": mode})
        return self._workers[number]

    def _environment(self, number: int) -> dict[str, str]:
        gpu = gpu_of(number, self._gpus)
        return {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}

    def _tell(self, context: RunContext, worker: _Worker, line: str) -> None:
        mark = "warning: "
        tell = context.reporter.warn if line.startswith(mark) else context.reporter.info
        tell(f"worker {worker.number}: {line.removeprefix(mark)}")


class _Worker:
    """A worker process and its answers."""

    def __init__(
        self, number: int, environment: Mapping[str, str], events: queue.Queue[tuple[_Worker, dict[str, Any] | None]]
    ):
        self.number = number
        self._events = events
        self.process = subprocess.Popen(
            [sys.executable, "-c", _START, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
            text=True,
            encoding="utf-8",
        )
        self._input, self._output = _pipe(self.process.stdin), _pipe(self.process.stdout)
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, message: Mapping[str, Any]) -> None:
        try:
            self._input.write(json.dumps(message) + "\n")
            self._input.flush()
        except BrokenPipeError:
            pass  # the process ended; `_listen` reports it

    def end(self) -> None:
        self.process.kill()
        self.process.wait()

    def how_it_ended(self) -> str:
        status = self.process.wait()
        if status >= 0:
            return f"it ended with status {status}"
        try:
            return f"killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"killed by signal {-status}"

    def _listen(self) -> None:
        for line in self._output:
            try:
                self._events.put((self, json.loads(line)))
            except ValueError:  # half a line, from a process that was killed
                break
        self._events.put((self, None))


def _pipe(stream: IO[str] | None) -> IO[str]:
    """Return one end of a pipe to a process that was started with pipes."""
    if stream is None:
        raise ValueError("the process was started without pipes")
    return stream
