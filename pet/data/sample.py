"""Few-shot draws: which rows of a labeled table a run trains on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pet.errors import PetError


def sample_shots(
    labels: NDArray[np.integer],
    n_labels: int,
    *,
    shots: int | None = None,
    examples: int | None = None,
    seed: int,
    balanced: bool = True,
    names: Sequence[str] | None = None,
) -> NDArray[np.int64]:
    """Row indices of a few-shot draw, in the order in which they were drawn.

    A draw with the same seed and rows begins with every smaller one, so that 10 shots are among the
    50. Balanced draws go round the labels in task order and pass over labels that have no rows left.

    Parameters
    ----------
    labels : array of int, shape [n]
        Label index of each row, from 0 to `n_labels` - 1.
    n_labels : int
        Labels of the task.
    shots : int, optional
        Rows of each label. Give this or `examples`.
    examples : int, optional
        Rows in total.
    seed : int
        Not negative.
    balanced : bool
        For `examples`: as even as the rows allow; False: as drawn, in the ratio of the data.
    names : sequence of str, optional
        Names of the labels, for messages.

    Returns
    -------
    array of int64

    Raises
    ------
    PetError
        If there are too few rows, or the numbers make no sense.

    Examples
    --------
    Two rows of each of two labels, alternating between the labels:

    >>> labels = np.array([0, 0, 0, 1, 1, 0])
    >>> rows = sample_shots(labels, 2, shots=2, seed=0)
    >>> labels[rows].tolist()
    [0, 1, 0, 1]
    """
    labels = np.asarray(labels)
    wanted = _wanted(shots, examples, seed)
    if labels.ndim != 1 or (len(labels) and not 0 <= labels.min() <= labels.max() < n_labels):
        raise ValueError(f"labels must be one-dimensional and from 0 to {n_labels - 1}")
    counts = np.bincount(labels, minlength=n_labels)
    if shots is not None:
        _refuse_few_shots(counts, shots, names)
        return _round_robin(labels, n_labels, seed)[: shots * n_labels]
    if wanted > len(labels):
        raise PetError(f"--examples {wanted}: there are only {len(labels)} rows; draw fewer or add rows")
    if not balanced:
        return np.random.default_rng(seed).permutation(len(labels))[:wanted].astype(np.int64)
    return _round_robin(labels, n_labels, seed)[:wanted]


def _wanted(shots: int | None, examples: int | None, seed: int) -> int:
    if shots is not None and examples is not None:
        raise PetError("--shots (for each label) and --examples (in total) exclude each other; give one of them")
    wanted = shots if shots is not None else examples
    if wanted is None:
        raise PetError("a draw needs its size; give --shots (for each label) or --examples (in total)")
    if wanted < 0:
        raise PetError(f"--{'examples' if shots is None else 'shots'} {wanted}: must not be negative; give 0 or more")
    if seed < 0:
        raise PetError(f"--seed {seed}: must not be negative; give 0 or more")
    return wanted


def _refuse_few_shots(counts: NDArray[np.intp], shots: int, names: Sequence[str] | None) -> None:
    short = [
        f"label {names[label]!r} has {count}" if names is not None else f"label number {label} has {count}"
        for label, count in enumerate(counts)
        if count < shots
    ]
    if short:
        raise PetError(f"--shots {shots}: too few rows ({', '.join(short)}); draw fewer, add rows, or use --examples")


def _round_robin(labels: NDArray[np.integer], n_labels: int, seed: int) -> NDArray[np.int64]:
    """All rows: the first drawn of every label, then the second of every label, and so on."""
    order = np.empty(len(labels), np.int64)
    for label in range(n_labels):
        rows = np.flatnonzero(labels == label)
        # A generator of its own, so that the rows of one label do not change the draw of another.
        drawn = np.random.default_rng([seed, label]).permutation(len(rows))
        order[rows[drawn]] = np.arange(len(rows))
    return np.lexsort((labels, order)).astype(np.int64)
