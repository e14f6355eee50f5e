"""Match soft labels and texts by their ids, in constant memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pet.data.columns import some
from pet.data.ids import match_columns
from pet.data.pick import Picked, pick_rows
from pet.data.spill import disk_array
from pet.ensemble.soft_label_store import SoftLabelStore
from pet.errors import PetError
from pet.evaluate_sets import HALF
from pet.student.distill import one_hot
from pet.training.batching import SHUFFLED

if TYPE_CHECKING:
    from datasets import Dataset

Array = NDArray[Any]
_NAMED = 5  # ids in a message
_ROWS = 1 << 20  # at a time


@dataclass(frozen=True)
class LookedUp:
    """What a student learns, looked up when it is needed.

    Attributes
    ----------
    soft : all soft labels
    at : the row of `soft` of each text
    hard : the most probable label instead of the probabilities, or all labels that apply
    """

    soft: SoftLabelStore
    at: Array
    hard: bool = False

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, rows: Any) -> Array:
        """Return the targets of some texts, float64 of shape (texts, L)."""
        found = self.soft.probabilities(np.asarray(self.at[rows]))
        return hardened(found, independent=self.soft.independent) if self.hard else found


def hardened(targets: Array, *, independent: bool) -> Array:
    """Return the most probable label of each row with probability 1; or all labels that apply."""
    if independent:
        return (targets >= HALF).astype(np.float64)
    return one_hot(targets.argmax(axis=1), targets.shape[1])


def match_texts(
    path: str | Path, soft: SoftLabelStore, table: Dataset, least: float, *, hard: bool = False
) -> tuple[Dataset | Picked, LookedUp, dict[str, int]]:
    """Return texts and probabilities of the same ids, in the order of the input.

    Parameters
    ----------
    path : what messages call the soft labels
    soft : soft labels
    table : the texts
    least : leave out texts whose best label is less probable
    hard : see `LookedUp`

    Returns
    -------
    the texts, their targets, and how many there are, were left out, and have no soft labels

    Raises
    ------
    PetError
        If soft labels have no text, or none is left.
    """
    at = match_columns(table.data.column("id"), soft.ids, "labels")
    wanted = np.zeros(len(soft), dtype=bool)
    for start in range(0, len(at), _ROWS):
        part = at[start : start + _ROWS]
        wanted[part[part >= 0]] = True
    _refuse_lost(path, soft, ~wanted)
    sure = np.concatenate([_sure(p, least, soft.independent) for p in soft.parts()])
    unlabeled = len(at) - len(soft)
    left_out = int((~sure).sum())
    rows, own = _both(at, sure, len(soft) - left_out)
    if not len(rows):
        raise PetError(f"{path}: no soft label reaches --min-confidence {least}; lower it")
    counts = {"texts": len(rows), "left_out": left_out, "unlabeled": unlabeled}
    if len(rows) <= SHUFFLED:
        return pick_rows(table, rows), LookedUp(soft, own, hard), counts
    chosen = table if len(rows) == len(table) else Picked(table, rows)
    return chosen, LookedUp(soft, own, hard), counts


def _refuse_lost(path: str | Path, soft: SoftLabelStore, lost: Array) -> None:
    """Refuse soft labels of texts that are not in the input."""
    if not lost.any():
        return
    named: list[str] = []
    start = 0
    for chunk in soft.ids.chunks:
        named += chunk.filter(pa.array(lost[start : start + len(chunk)]))[: _NAMED + 1].to_pylist()
        start += len(chunk)
    count = int(lost.sum())
    names = [*named[:_NAMED], *[""] * (count - _NAMED)]
    raise PetError(
        f"{path}: {count} of its {len(soft)} ids are not in the input ({some(names, _NAMED)}); "
        "give the texts that were labeled, with the same ids (--column id=COLUMN names their column)"
    )


def _sure(p: Array, least: float, independent: bool) -> Array:
    """Return whether each row of probabilities reaches a confidence."""
    return np.asarray((np.maximum(p, 1 - p).min(axis=1) if independent else p.max(axis=1)) >= least)


def _both(at: Array, sure: Array, count: int) -> tuple[Array, Array]:
    """Return the texts that have sure labels, and the rows of these labels; `count` is their number."""
    rows, own = disk_array(count, np.int64, "labels"), disk_array(count, np.int64, "labels")
    done = 0
    for start in range(0, len(at), _ROWS):
        part = np.asarray(at[start : start + _ROWS])
        kept = np.flatnonzero((part >= 0) & sure[part])
        rows[done : done + len(kept)], own[done : done + len(kept)] = start + kept, part[kept]
        done += len(kept)
    return rows, own
