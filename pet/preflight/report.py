"""What a check finds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from pet.errors import PetError
from pet.preflight.patterns import PatternCheck


@dataclass(frozen=True)
class ZeroShot:
    """How well the untrained patterns do.

    Attributes
    ----------
    table, rows : name of the labeled table, and the number of its texts that were scored
    majority : share of the most frequent label
    patterns : figures of each pattern; see `pet.preflight.zero_shot.untrained_accuracy`
    together : figures of all patterns as one ensemble
    multi_label : whether a text may have several labels
    favorite, favorite_share : the label that the ensemble predicts most often, and the share of texts that get it
    without_bias : setting that removes the bias -> accuracy of the ensemble with it
    """

    table: str
    rows: int
    majority: float
    patterns: list[dict[str, float]]
    together: dict[str, float]
    multi_label: bool = False
    favorite: str = ""
    favorite_share: float = 0.0
    without_bias: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TeacherCost:
    """What a teacher would cost.

    Attributes
    ----------
    name, address : the member
    answers : ``logprobs`` or ``votes``; empty if the server was not asked
    texts : number of texts that it would be asked about
    calls, tokens : number of requests, and about how many tokens they have
    seconds : about how long they take; None if the server was not asked
    limited : the option that ends the requests before all texts are labeled; empty: none
    """

    name: str
    address: str
    answers: str
    texts: int
    calls: int
    tokens: int
    seconds: float | None
    limited: str = ""


@dataclass
class CheckReport:
    """What `pet.preflight.check_task.check_task` found.

    Attributes
    ----------
    task, model, max_length : what was checked
    rows : number of rows of each table
    label_counts : number of rows of each label in each table
    patterns : one entry for each pattern
    zero_shot : accuracy without training; None if there are no labeled texts or no weights
    training_sets : for ``ipet``, number of training texts of a member in each generation; 0 for the untrained model
    seconds : expected time of each part of a run; see `pet.preflight.cost.estimate`
    teachers : what each teacher costs
    warnings : problems that would not stop a run
    errors : problems that would stop a run
    """

    task: str
    model: str
    max_length: int
    rows: dict[str, int] = field(default_factory=dict)
    label_counts: dict[str, dict[str, int]] = field(default_factory=dict)
    patterns: list[PatternCheck] = field(default_factory=list)
    zero_shot: ZeroShot | None = None
    training_sets: list[int] = field(default_factory=list)
    seconds: dict[str, float] | None = None
    teachers: list[TeacherCost] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @contextmanager
    def collect_errors(self) -> Iterator[None]:
        """Add the problems of a `PetError` to `errors` instead of raising it."""
        try:
            yield
        except PetError as error:
            self.errors += error.problems

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)
