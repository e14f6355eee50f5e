"""Several processes that train one model together, started by ``accelerate launch`` or ``torchrun``."""

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
_BUCKET = 1 << 24  # numbers that travel in one message
_PATIENCE = timedelta(days=30)  # the others wait while the first one trains a student


@dataclass(frozen=True)
class Group:
    """This process's place among those that train together.

    Attributes
    ----------
    rank : number of this process, from 0; the first one leads
    size : how many there are, 2 or more
    """

    rank: int
    size: int

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def owns(self, micro: int) -> bool:
        """Whether a micro-batch of an update, counted from 0, is this process's."""
        return micro % self.size == self.rank

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Put the sum over all processes in place of each tensor, many small ones in one message."""
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
        """From the one who leads to all others."""
        torch.distributed.broadcast_object_list([json.dumps(message)], src=0, device=torch.device("cpu"))

    def receive(self) -> dict[str, Any]:
        """What the one who leads sends next."""
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
        """Leave."""
        torch.distributed.destroy_process_group()


def in_a_group() -> bool:
    """Whether this process was started as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def join_group() -> Group:
    """Meet the other processes; call it once.

    Afterwards each of them is on its own, with a GPU of its own where there are any, but for what goes through the
    group: libraries that would divide work among the processes themselves do not see the others.
    """
    size, rank, local = (int(os.environ.get(name, "0")) for name in _STARTED_BY)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus:
        torch.cuda.set_device(local % gpus)
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=_PATIENCE)
    for name in _STARTED_BY:
        os.environ.pop(name, None)
    return Group(rank, size)
