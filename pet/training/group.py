"""Data-parallel training: processes started by ``torchrun`` that train one model together."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from pet.errors import PetError

_STARTED_BY = ("WORLD_SIZE", "RANK", "LOCAL_RANK")
_NEEDED = ("RANK", "MASTER_ADDR", "MASTER_PORT")
_INTERFACE = "GLOO_SOCKET_IFNAME"
_START = timedelta(minutes=10)  # time for all processes to start
_BUCKET = 1 << 24  # elements per message
_PATIENCE = timedelta(days=30)  # the other processes wait while the main process trains a student


@dataclass(frozen=True)
class Group:
    """A group of processes that train together, as seen by one of them.

    Attributes
    ----------
    rank : number of this process, from 0; rank 0 is the main process
    size : number of processes, at least 2
    """

    rank: int
    size: int

    @property
    def is_main(self) -> bool:
        """Whether this is the main process."""
        return self.rank == 0

    def owns(self, micro: int) -> bool:
        """Whether this process computes a micro-batch, numbered from 0 within its update."""
        return micro % self.size == self.rank

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes. Small tensors share a message."""
        start = 0
        while start < len(tensors):
            stop, count = start + 1, tensors[start].numel()
            while stop < len(tensors) and count + tensors[stop].numel() <= _BUCKET:
                count, stop = count + tensors[stop].numel(), stop + 1
            together = torch.cat([tensor.reshape(-1) for tensor in tensors[start:stop]])
            torch.distributed.all_reduce(together)
            for tensor, part in zip(
                tensors[start:stop], together.split([tensor.numel() for tensor in tensors[start:stop]]), strict=True
            ):
                tensor.copy_(part.view_as(tensor))
            start = stop

    def send(self, message: dict[str, Any]) -> None:
        """Send a message of JSON values from the main process to all others."""
        torch.distributed.broadcast_object_list([json.dumps(message)], src=0, device=torch.device("cpu"))

    def receive(self) -> dict[str, Any]:
        """Receive the main process's next message."""
        box: list[Any] = [None]
        torch.distributed.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        message: dict[str, Any] = json.loads(box[0])
        return message

    def share(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return the main process's message in every process."""
        if not self.is_main:
            return self.receive()
        self.send(message)
        return message

    def close(self) -> None:
        """Leave the group."""
        torch.distributed.destroy_process_group()

    def leave(self) -> None:
        """Leave the group and end this process, which has finished its work.

        Threads of torch.distributed can outlive the group. They abort a process whose interpreter is shutting down, and
        then the launcher reports a failure. So the interpreter does not shut down.
        """
        self.close()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def in_a_group() -> bool:
    """Return True if this process was started as part of a group.

    Raises
    ------
    PetError
        If the environment names a group, but not how to reach it, because another program left some variables behind.
    """
    if _number("WORLD_SIZE", 1) <= 1:
        return False
    lost = [name for name in _NEEDED if not os.environ.get(name)]
    if lost:
        raise PetError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {' and '.join(lost)} are not set; start the processes with "
            f"torchrun, or remove the variables of another program: unset {' '.join(_STARTED_BY)}"
        )
    return True


def join_group() -> Group:
    """Join the other processes. Call it once.

    Each process gets its own GPU if there are any. Processes on one machine talk to each other without its network.

    Raises
    ------
    PetError
        If the others do not start within 10 minutes.
    """
    size, rank, local = _number("WORLD_SIZE", 1), _number("RANK", 0), _number("LOCAL_RANK", 0)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus:
        torch.cuda.set_device(local % gpus)
    with _loopback(_number("LOCAL_WORLD_SIZE", 0) == size):
        try:
            store, rank, size = next(rendezvous("env://", rank, size, timeout=_START))
            store.set_timeout(_PATIENCE)
            torch.distributed.init_process_group(
                "cpu:gloo,cuda:nccl" if gpus else "gloo", store=store, rank=rank, world_size=size, timeout=_PATIENCE
            )
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise PetError(
                f"cannot reach the other {size - 1} processes of this group ({reason}); start them with torchrun, or, "
                f"to run alone, unset {' '.join(_STARTED_BY)}"
            ) from error
    return Group(rank, size)


def _number(name: str, default: int) -> int:
    """Return the value of an environment variable as a number."""
    text = os.environ.get(name) or str(default)
    try:
        return int(text)
    except ValueError:
        raise PetError(f"environment variable {name} is {text!r}: it must be a number; unset {name}") from None


@contextmanager
def _loopback(local: bool) -> Iterator[None]:
    """Let processes on one machine connect through its loopback interface, which other machines cannot reach."""
    names = {name for _, name in socket.if_nameindex()} if local and hasattr(socket, "if_nameindex") else set()
    chosen = next((name for name in ("lo", "lo0") if name in names), None)
    if chosen is None or _INTERFACE in os.environ:
        yield
        return
    os.environ[_INTERFACE] = chosen
    try:
        yield
    finally:
        os.environ.pop(_INTERFACE, None)
