"""The seam: a member is anything that scores a table of texts.

A pattern on a language model is one kind of member; a classifier and a file with somebody else's probabilities are
others. Runs, `pet label`, worker processes, and Ray know members only by what is declared here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pet.ensemble.scale import Scale
from pet.members.texts import Texts

Array = NDArray[Any]
OnStep = Callable[[int, "float | None"], None]
OnRows = Callable[[int], object]


@dataclass(frozen=True)
class MemberData:
    """What a member learns from.

    Attributes
    ----------
    parts : tables and the rows of each (int64) that are labeled, in the order of `labels`
    labels : int64 array of shape (rows,), positions in the task's labels; or float probabilities of shape (rows, L)
    pool : unlabeled texts, or None
    known : all tables of the run, for members that match texts by id
    """

    parts: Sequence[tuple[Texts, Array]]
    labels: Array
    pool: Texts | None
    known: Sequence[Texts] = ()

    @property
    def hard_labels(self) -> Array:
        """The labels as int64 positions of shape (rows,); of probabilities, the most probable one."""
        return np.asarray(self.labels if self.labels.ndim == 1 else self.labels.argmax(axis=1), dtype=np.int64)


@dataclass(frozen=True)
class Report:
    """What is known of a member after `Scorer.fit`.

    Attributes
    ----------
    labeled : number of labeled texts it learned from
    losses : mean losses over stretches of updates; empty if nothing was trained
    trained : number of trained parameters
    notes : more facts for its ``member.json``, in plain values
    """

    labeled: int
    losses: list[float] = field(default_factory=list)
    trained: int = 0
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def final_loss(self) -> float | None:
        """The last of `losses`, or None."""
        return self.losses[-1] if self.losses else None


class Scorer(Protocol):
    """A member of an ensemble.

    Attributes
    ----------
    name : its identity in files and tables
    scale : what its scores mean
    """

    @property
    def name(self) -> str: ...

    @property
    def scale(self) -> Scale: ...

    def fit(self, data: MemberData, folder: Path, on_step: OnStep = ...) -> Report:
        """Learn from labeled texts and save everything that `scores` needs in an empty folder.

        Parameters
        ----------
        data : labeled and unlabeled texts
        folder : an empty folder
        on_step : called after each update with its number (from 1) and, now and then, the loss
        """

    def load(self) -> None:
        """Open what `scores` needs, where it can stay in memory."""

    def scores(self, texts: Texts, out: Array, on_rows: OnRows = ...) -> None:
        """Write the score of every label for every text into an array.

        Parameters
        ----------
        texts : the table
        out : float32 array of shape (rows, L), a memory map for instance. NaN rows abstain
        on_rows : called with the number of rows finished since the last call
        """
