"""Data-parallel training: processes started by ``accelerate launch`` or ``torchrun`` that train one model together."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

_STARTED_BY = ("WORLD_SIZE", "RANK", "LOCAL_RANK")
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


def in_a_group() -> bool:
    """Whether this process was started as part of a group."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def join_group() -> Group:
    """Join the other processes. Call it once.

    Each process gets its own GPU if there are any. Only the returned group connects the processes: libraries
    that would split work among them on their own (such as Accelerate) see a single process.
    """
    size, rank, local = (int(os.environ.get(name, "0")) for name in _STARTED_BY)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus:
        torch.cuda.set_device(local % gpus)
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=_PATIENCE)
    for name in _STARTED_BY:
        os.environ.pop(name, None)
    return Group(rank, size)
