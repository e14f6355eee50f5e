"""Choosing rows for batches, and padding them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pet.cloze.encode import Encoded
from pet.cloze.tokens import ragged_index

Array = NDArray[Any]


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


def pad_rows(
    encoded: Encoded, rows: Array, pad_id: int, *, left: bool = False
) -> tuple[dict[str, Array], Array]:
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
    """NumPy arrays as tensors on a device."""
    return {name: torch.from_numpy(values).to(device, non_blocking=True) for name, values in batch.items()}
