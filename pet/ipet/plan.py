"""The schedule of iPET generations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.errors import PetError
from pet.ipet.selection import (
    MOST,
    apportion,
    count_generations,
    new_examples,
    parse_ratio,
)
from pet.ipet.settings import IpetSettings
from pet.task.task import Task

Array = NDArray[Any]
MOST_GENERATIONS = 30


@dataclass(frozen=True)
class Plan:
    """The number of generations of a run, and their numbers of pseudo-labeled texts.

    Attributes
    ----------
    settings : iPET settings
    counts : number of labeled texts per label, shape (L,)
    ratio : label ratio of the pseudo-labeled texts, shape (L,); None: the same as in `counts`
    rounds : number of training rounds
    limit : largest number of pseudo-labeled texts
    """

    settings: IpetSettings
    counts: Array
    ratio: Array | None
    rounds: int
    limit: int = MOST

    @property
    def labeled(self) -> bool:
        """Whether there are labeled texts."""
        return bool(self.counts.any())

    @property
    def last(self) -> int:
        """Number of the last generation, from 0. Without labeled texts, generation 0 is the untrained model."""
        return self.rounds - 1 if self.labeled else self.rounds

    def wanted(self, generation: int) -> Array:
        """Return the number of pseudo-labeled texts per label for a member of a generation above 0."""
        wanted = new_examples(self.counts, generation, self.settings.growth, self.ratio, self.settings.first_set)
        return wanted if wanted.sum() <= self.limit else apportion(self.limit, wanted)

    def target(self) -> Array:
        """Return the assumed label ratio of the pool: that of the pseudo-labeled texts."""
        wanted = self.wanted(1) if self.ratio is None else self.ratio
        return np.asarray(wanted / wanted.sum())


def _first_set(pool: int | None) -> int:
    """Return the size of the first training set without labeled texts.

    The few texts that untrained patterns are surest of are easy, and members that see nothing else get worse.
    benchmarks/README.md has figures.
    """
    return 10 if pool is None else min(max(pool // 5, 10), 400)


def make_plan(task: Task, settings: IpetSettings, counts: Array, repetitions: int = 1, pool: int | None = None) -> Plan:
    """Return the schedule of a run.

    With ``selection=ranked``, generations end when their training sets cannot grow any more.

    Parameters
    ----------
    task, settings : the task and the iPET settings
    counts : number of labeled texts per label, shape (L,)
    repetitions : number of members per pattern
    pool : number of unlabeled texts; default: unknown

    Raises
    ------
    PetError
        If there are fewer than two members, or the label ratio is invalid.
    """
    ratio = parse_ratio(settings.ratio, task.labels)
    labeled = int(np.sum(counts))
    once = not (labeled or settings.first_set)
    settings = replace(settings, first_set=settings.first_set or _first_set(pool))
    if len(task.patterns) * (repetitions if labeled else 1) < 2:
        cure = (
            "add a pattern, or train several members of this one with --set repetitions=3"
            if labeled
            else "add a pattern (without labeled texts the first labels come from the untrained patterns)"
        )
        raise PetError(
            f"{task.name}: iPET needs at least two members, which label texts for each other; {cure}, or use "
            "--method pet"
        )
    first = labeled or max(settings.first_set, len(task.labels))
    rounds = settings.generations or (1 if once else count_generations(first, settings.growth, settings.enough))
    if rounds > MOST_GENERATIONS:
        raise PetError(
            f"{rounds} generations are needed to grow from {first} to enough={settings.enough} texts with "
            f"growth={settings.growth}, and at most {MOST_GENERATIONS} are possible; increase growth or lower enough"
        )
    if settings.selection != "ranked" or pool is None:
        return Plan(settings, np.asarray(counts), ratio, rounds)
    limit = max(len(task.labels), int(settings.pool_share * pool))
    plan = Plan(settings, np.asarray(counts), ratio, rounds, limit)
    full = [g for g in range(1, plan.last) if plan.wanted(g).sum() == limit]
    return replace(plan, rounds=rounds - (plan.last - full[0])) if full and not settings.generations else plan
