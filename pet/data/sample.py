"""Draw few-shot samples: the rows of a labeled table that a run trains on."""

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
    """Draw rows for few-shot training.

    With the same seed and rows, a larger draw begins with every smaller one: 10 shots are among the 50. Balanced draws
    take one row of each label in turn, in task order, and skip labels that have no rows left.

    Parameters
    ----------
    labels : label index of each row, from 0 to `n_labels` - 1, shape (rows,); or 0 and 1 for each label, shape
        (rows, n_labels), if a row may have several. A balanced draw then takes a row for the label that has the fewest
        so far, and `shots` is the least number of rows of each label
    n_labels : number of labels of the task
    shots : rows of each label; give this or `examples`
    examples : rows in total
    seed : random seed, not negative
    balanced : for `examples`: draw as evenly over the labels as possible; if False, in the label ratio of the data
    names : of the labels, for messages

    Returns
    -------
    int64 array of row indices, in the order of the draw

    Raises
    ------
    PetError
        If there are too few rows, or the options contradict each other.

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
    if labels.ndim == 2:
        return _sample_sets(labels, wanted, shots is not None, seed, balanced, names)
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
        raise PetError("--shots (of each label) and --examples (in total) exclude each other; give one of them")
    wanted = shots if shots is not None else examples
    if wanted is None:
        raise PetError("how many rows to draw is missing; give --shots (of each label) or --examples (in total)")
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
    """Return all rows: the first drawn row of every label, then the second of every label, and so on."""
    order = np.empty(len(labels), np.int64)
    for label in range(n_labels):
        rows = np.flatnonzero(labels == label)
        # Each label has its own generator, so that its draw does not depend on the rows of other labels.
        drawn = np.random.default_rng([seed, label]).permutation(len(rows))
        order[rows[drawn]] = np.arange(len(rows))
    return np.lexsort((labels, order)).astype(np.int64)


def _sample_sets(
    indicator: NDArray[np.integer], wanted: int, shots: bool, seed: int, balanced: bool, names: Sequence[str] | None
) -> NDArray[np.int64]:
    """Draw rows that may have several labels; see `sample_shots`."""
    if shots:
        _refuse_few_shots(indicator.sum(axis=0), wanted, names)
    elif wanted > len(indicator):
        raise PetError(f"--examples {wanted}: there are only {len(indicator)} rows; draw fewer or add rows")
    order = np.random.default_rng(seed).permutation(len(indicator)).astype(np.int64)
    if not balanced and not shots:
        return order[:wanted]
    # Rows without a label count as a label of their own, which needs no shots.
    has = np.asarray(indicator > 0)
    groups = np.column_stack([has, ~has.any(axis=1)])[order]
    left, taken = np.ones(len(order), dtype=bool), np.zeros(groups.shape[1], dtype=np.int64)
    drawn: list[int] = []
    while left.any():
        open_groups = np.flatnonzero((groups & left[:, None]).any(axis=0))
        if shots:
            open_groups = np.array(
                [group for group in open_groups if group < indicator.shape[1] and taken[group] < wanted]
            )
        if not len(open_groups) or (not shots and len(drawn) == wanted):
            break
        group = open_groups[np.argmin(taken[open_groups])]
        place = int(np.argmax(groups[:, group] & left))
        left[place] = False
        taken += groups[place]
        drawn.append(order[place])
    return np.array(drawn, dtype=np.int64)
