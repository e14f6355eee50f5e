"""Choosing rows for batches, padding them, and moving them to a device and back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pet.cloze.ragged import Encoded, ragged_index

Array = NDArray[Any]
_ON_PROCESSOR = {"lengths"}  # what decides on shapes: to ask a GPU for it is to wait for it
_AHEAD = 16  # batches that a GPU is given before the results of the first are read


def token_budget_batches(lengths: Array, max_tokens: int, max_rows: int = 1024) -> list[Array]:
    """Rows sorted by length and cut into batches of at most `max_tokens` tokens, padding included.

    Parameters
    ----------
    lengths : int array of shape (rows,)
    max_tokens : rows × longest row of a batch, at most; a single longer row makes a batch of its own
    max_rows : rows of a batch, at most

    Returns
    -------
    list of int64 arrays: each row is in exactly one; the longest first, so that lack of memory shows at once
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    batches = []
    start = 0
    while start < len(order):
        longest = max(int(lengths[order[start]]), 1)
        stop = start + max(1, min(max_rows, max_tokens // longest))
        batches.append(order[start:stop])
        start = stop
    return batches


def shuffled_batches(rows: int, size: int, generator: np.random.Generator) -> Iterator[Array]:
    """Batches without end: every row once before any comes again, in a new order each time.

    Batches are always full; one that ends an epoch goes on into the next.
    """
    pending = np.zeros(0, dtype=np.int64)
    while True:
        while len(pending) < size:
            pending = np.concatenate([pending, generator.permutation(rows)])
        yield pending[:size]
        pending = pending[size:]


def pad_rows(encoded: Encoded, rows: Array, pad_id: int, *, left: bool = False) -> tuple[dict[str, Array], Array]:
    """Rows as rectangular arrays, padded on the right, or on the left, to the longest of them.

    Returns
    -------
    batch : ``input_ids``, ``attention_mask``, ``token_type_ids``; int64 arrays of shape (B, T)
    ordinary : bool array of shape (B, T); False on special tokens, masks and padding
    """
    starts = encoded.ids.offsets[rows]
    lengths = encoded.ids.offsets[rows + 1] - starts
    width = int(lengths.max())
    source = ragged_index(starts, lengths)
    first = np.arange(len(rows), dtype=np.int64) * width
    target = ragged_index(first + (width - lengths) * left, lengths)
    shape = (len(rows), width)
    ids = np.full(shape, pad_id, dtype=np.int64)
    attention = np.zeros(shape, dtype=np.int64)
    types = np.zeros(shape, dtype=np.int64)
    ordinary = np.zeros(shape, dtype=bool)
    ids.flat[target] = encoded.ids.values[source]
    attention.flat[target] = 1
    types.flat[target] = encoded.types[source]
    ordinary.flat[target] = encoded.ordinary[source]
    return {"input_ids": ids, "attention_mask": attention, "token_type_ids": types}, ordinary


def to_tensors(batch: dict[str, Array], device: torch.device) -> dict[str, Tensor]:
    """NumPy arrays as tensors on a device; `lengths` stays on the processor."""
    tensors = {name: torch.from_numpy(values) for name, values in batch.items()}
    return {name: x if name in _ON_PROCESSOR else to_device(x, device) for name, x in tensors.items()}


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """A tensor of the processor on a device; a GPU fetches it by itself, while this process goes on."""
    if device.type == "cuda":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


def write_back(
    out: Array, results: Iterable[tuple[Array, Tensor]], on_rows: Callable[[int], object] = lambda n: None
) -> None:
    """Fill rows of an array with what a device computes.

    A GPU is given the next batches while it is at earlier ones: their results are waited for some batches later.

    Parameters
    ----------
    out : float32 array of shape (rows, ...)
    results : rows, and a tensor with a value for each, batch by batch
    on_rows : called with the number of rows written since the last call
    """
    waiting: deque[tuple[Array, Tensor, torch.cuda.Event | None]] = deque()

    def read() -> None:
        rows, values, copied = waiting.popleft()
        if copied is not None:
            copied.synchronize()
        out[rows] = values.numpy()
        on_rows(len(rows))

    for rows, values in results:
        on_gpu = values.device.type == "cuda"
        copy, copied = values.float().to("cpu", non_blocking=on_gpu), None
        if on_gpu:
            copied = torch.cuda.Event()
            copied.record(torch.cuda.current_stream(values.device))
        waiting.append((rows, copy, copied))
        while len(waiting) > (_AHEAD if on_gpu else 0):
            read()
    while waiting:
        read()
