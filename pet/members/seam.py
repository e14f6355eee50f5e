"""The interface of members: a member is anything that scores a table of texts.

A language model tuned with a pattern is one kind of member; a classifier and a file of probabilities are others. Runs,
`pet label`, worker processes, and Ray use members only through this interface.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from pet.ensemble.scale import Scale
from pet.members.texts import Texts

Array = NDArray[Any]
OnStep = Callable[[int, "float | None"], None]
OnRows = Callable[[int], object]


def ignore(*_: Any) -> None:
    """Do nothing: the default of `OnStep` and `OnRows`."""


@dataclass(frozen=True)
class MemberData:
    """Training data of a member.

    Attributes
    ----------
    parts : tables, and the labeled rows (int64) of each, in the order of `labels`
    labels : int64 array of shape (rows,), positions in the task's labels; or float probabilities of shape (rows, L)
    pool : unlabeled texts, or None
    known : all tables of the run, for members that match texts by id
    """

    parts: Sequence[tuple[Texts, Array]]
    labels: Array
    pool: Texts | None
    known: Sequence[Texts] = ()


@dataclass(frozen=True)
class Report:
    """Result of `Scorer.fit`.

    Attributes
    ----------
    labeled : number of labeled texts in its training set
    losses : mean loss over every 10 updates; empty if nothing was trained
    trained : number of trained parameters
    notes : additional entries for ``member.json``, in plain values
    """

    labeled: int
    losses: list[float] = field(default_factory=list)
    trained: int = 0
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def final_loss(self) -> float | None:
        """The last value of `losses`, or None."""
        return self.losses[-1] if self.losses else None


class Scorer(Protocol):
    """A member of an ensemble.

    Attributes
    ----------
    name : name in files and tables, unique in the ensemble
    scale : scale of the scores: logits or log-probabilities
    """

    @property
    def name(self) -> str: ...

    @property
    def scale(self) -> Scale: ...

    def fit(self, data: MemberData, folder: Path, on_step: OnStep = ...) -> Report:
        """Train on labeled texts and save everything that `scores` needs in an empty folder.

        Parameters
        ----------
        data : labeled and unlabeled texts
        folder : an empty folder
        on_step : called after each update with its number (from 1) and every 10 updates with the loss, otherwise None
        """

    def load(self) -> None:
        """Load what `scores` needs into memory, as far as it can stay there."""

    def scores(self, texts: Texts, out: Array, on_rows: OnRows = ...) -> None:
        """Write the score of every label for every text into an array.

        Parameters
        ----------
        texts : the table
        out : float32 array of shape (rows, L), for example a memory map; rows of NaN abstain
        on_rows : called with the number of rows finished since the last call
        """
