"""Batching: select rows, pad them, and move them to a device and back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pet.cloze.ragged import Encoded, ragged_index
from pet.errors import PetError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Array = NDArray[Any]
_ON_CPU = {"lengths"}  # determines shapes; reading it from a GPU would wait for the GPU
SHUFFLED = 1 << 20  # rows; more are not shuffled to draw a few
_FEW = 50  # numpy draws less than this part of all rows without a list of all
_AHEAD = 16  # number of batches queued on a GPU before the first result is read


def token_budget_batches(lengths: Array, max_tokens: int, max_rows: int = 1024) -> list[Array]:
    """Sort rows by length and split them into batches of at most `max_tokens` tokens, including padding.

    Parameters
    ----------
    lengths : int array of shape (rows,)
    max_tokens : maximum of rows × longest row in a batch; a longer row gets its own batch
    max_rows : maximum number of rows in a batch

    Returns
    -------
    list of int64 arrays of row numbers; every row is in exactly one. The longest rows come first, so that running
    out of memory shows immediately.

    Examples
    --------
    >>> [batch.tolist() for batch in token_budget_batches(np.array([3, 9, 4, 2]), 10)]
    [[1], [2, 0], [3]]
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
    """Yield batches of row numbers forever, in a new random order every epoch.

    Batches are always full; the last batch of an epoch is filled up with rows of the next one.

    Parameters
    ----------
    rows : number of rows
    size : batch size
    generator : random generator
    """
    pending = np.zeros(0, dtype=np.int64)
    while True:
        while len(pending) < size:
            pending = np.concatenate([pending, generator.permutation(rows)])
        yield pending[:size]
        pending = pending[size:]


def draw_some(rows: int, count: int, generator: np.random.Generator) -> Array:
    """Draw different row numbers: the first of a shuffle of all rows or, if a few of very many, without shuffling.

    Parameters
    ----------
    rows : number of rows
    count : how many to draw, at most all
    generator : random generator

    Examples
    --------
    >>> len(set(draw_some(10**12, 1000, np.random.default_rng(0)).tolist()))
    1000
    """
    if rows <= SHUFFLED or count > rows // _FEW:
        return generator.permutation(rows)[:count]
    return generator.choice(rows, count, replace=False)


def balanced_batches(labels: Array, size: int, generator: np.random.Generator) -> Iterator[Array]:
    """Yield batches of row numbers forever, with rows of all labels in turn.

    The labels come in a new random order in every turn, and the rows of each label in a new order when all were used.

    Parameters
    ----------
    labels : positions of the labels, shape (rows,); or probabilities, shape (rows, L); a text has the labels
        of at least 0.5, and one without any is drawn as if it had a label of its own
    size, generator : see `shuffled_batches`

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 0, 0, 1])
    >>> rows = next(balanced_batches(labels, 4, np.random.default_rng(0)))
    >>> np.bincount(labels[rows]).tolist()
    [2, 2]
    """
    if labels.ndim == 1:
        groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    else:
        has = np.asarray(labels >= 0.5)
        groups = [np.flatnonzero(own) for own in (*has.T, ~has.any(axis=1)) if own.any()]
    left: list[list[int]] = [[] for _ in groups]
    pending: list[int] = []
    while True:
        while len(pending) < size:
            for place in generator.permutation(len(groups)).tolist():
                left[place] = left[place] or generator.permutation(groups[place]).tolist()
                pending.append(left[place].pop())
        yield np.array(pending[:size], dtype=np.int64)
        pending = pending[size:]


def padding_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the token that fills shorter rows. The model's configuration may name another one, or none."""
    return int(tokenizer.pad_token_id or 0)


def pad_rows(encoded: Encoded, rows: Array, pad_id: int, *, left: bool = False) -> tuple[dict[str, Array], Array]:
    """Copy rows into rectangular arrays, padded to the longest row.

    Parameters
    ----------
    encoded : the encoded examples
    rows : int array of shape (B,), row numbers
    pad_id : id of the padding token
    left : pad on the left instead of the right

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
    """Convert NumPy arrays to tensors on a device; `lengths` stays on the CPU."""
    tensors = {name: torch.from_numpy(values) for name, values in batch.items()}
    return {name: x if name in _ON_CPU else to_device(x, device) for name, x in tensors.items()}


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Copy a CPU tensor to a device; for a GPU, asynchronously from pinned memory."""
    if device.type == "cuda":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


def write_back(
    out: Array, results: Iterable[tuple[Array, Tensor]], on_rows: Callable[[int], object] = lambda n: None
) -> None:
    """Write results of a device into rows of an array.

    Results of a GPU are read with a delay of several batches, so that the GPU always has work queued.

    Parameters
    ----------
    out : float32 array of shape (rows, ...)
    results : for each batch, the row numbers and a tensor with one value per row
    on_rows : called with the number of rows written since the last call

    Raises
    ------
    PetError
        If a result is not a finite number.
    """
    waiting: deque[tuple[Array, Tensor, torch.cuda.Event | None]] = deque()

    def read() -> None:
        rows, values, copied = waiting.popleft()
        if copied is not None:
            copied.synchronize()
        numbers = values.numpy()
        check_finite(numbers)
        out[rows] = numbers
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


def check_finite(scores: Array) -> None:
    """Raise a PetError if a score is NaN, which would count as an abstention, or infinite."""
    if not np.isfinite(scores).all():
        raise PetError(
            "the model's scores are NaN or infinite; use --precision fp32, and if that does not help, train the "
            "model again or use another one"
        )
