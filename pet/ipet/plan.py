"""The schedule of the generations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.errors import PetError
from pet.ipet.selection import (
    count_generations,
    new_examples,
    parse_ratio,
)
from pet.ipet.settings import IpetSettings
from pet.task.task import Task

Array = NDArray[Any]


@dataclass(frozen=True)
class Plan:
    """How many generations a run has, and how many new texts of each label.

    Attributes
    ----------
    settings : iPET settings
    counts : labeled texts of each label, shape (L,)
    ratio : of the labels in the new texts, shape (L,); None: as in `counts`
    rounds : of training
    """

    settings: IpetSettings
    counts: Array
    ratio: Array | None
    rounds: int

    @property
    def labeled(self) -> bool:
        return bool(self.counts.any())

    @property
    def last(self) -> int:
        """Number of the last generation. Without labeled texts generation 0 is the untrained model."""
        return self.rounds - 1 if self.labeled else self.rounds

    def wanted(self, generation: int) -> Array:
        """New texts of each label for a member of a generation above 0."""
        return new_examples(self.counts, generation, self.settings.growth, self.ratio, self.settings.first_set)

    def target(self) -> Array:
        """The ratio that the labels of the pool are thought to have: that of the new texts."""
        wanted = self.wanted(1) if self.ratio is None else self.ratio
        return np.asarray(wanted / wanted.sum())


def make_plan(task: Task, settings: IpetSettings, counts: Array, repetitions: int = 1) -> Plan:
    """Return the schedule of a run.

    Parameters
    ----------
    task, settings : of the run
    counts : labeled texts of each label, shape (L,)
    repetitions : members per pattern

    Raises
    ------
    PetError
        When no member has another one to learn from, or the ratio of the labels is none.
    """
    ratio = parse_ratio(settings.ratio, task.labels)
    labeled = int(np.sum(counts))
    if len(task.patterns) * (repetitions if labeled else 1) < 2:
        cure = (
            "add a pattern, or train several members of this one with --set repetitions=3"
            if labeled
            else "add a pattern (without labeled texts the first labels come from the untrained patterns)"
        )
        raise PetError(
            f"{task.name}: iPET has members label for each other, and one pattern has no other: {cure}, or take "
            "--method pet"
        )
    first = labeled or max(settings.first_set, len(task.labels))
    rounds = settings.generations or count_generations(first, settings.growth, settings.enough)
    return Plan(settings, np.asarray(counts), ratio, rounds)
