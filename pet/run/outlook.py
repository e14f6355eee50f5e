"""Where a run is as a whole, and about how long it still takes: the count of `pet check`, with the speed of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pet.members.kinds import KINDS
from pet.run.resolve import ResolvedRun

TRAIN, SCORE, STUDENT = "train", "score", "student"
FORWARD = 1 / 3  # cost of scoring a text, as a share of learning from one, until it is measured


@dataclass(frozen=True)
class Costs:
    """What a run does, in updates and texts.

    Attributes
    ----------
    members : the stage of every member, in order, as ``g0/p1-r1``
    updates : updates of each of them
    scored : texts that each of them scores
    student : updates of the student; 0 without one
    batch, student_batch : texts of an update
    """

    members: Sequence[str]
    updates: Sequence[int]
    scored: int
    student: int
    batch: int
    student_batch: int


class Outlook:
    """Tells how far a run is, given the progress of its current task; see `pet.progress.Reporter.outlook`.

    Parameters
    ----------
    costs : what the run does

    Examples
    --------
    >>> outlook = Outlook(Costs(["g0/p1-r1", "g0/p2-r1"], [100, 100], scored=0, student=0, batch=1, student_batch=1))
    >>> outlook("train g0/p1-r1", done=50, seconds=30.0)
    'member 1 of 2; about 90 s left in all'
    """

    def __init__(self, costs: Costs):
        self._costs = costs
        self._places = {stage: number for number, stage in enumerate(costs.members)}
        self._spent: dict[str, tuple[int, float]] = {}  # kind -> finished units and their seconds

    def ended(self, label: str, done: int, seconds: float) -> None:
        """Note how long a task took."""
        kind, _ = self._find(label)
        if kind:
            units, before = self._spent.get(kind, (0, 0.0))
            self._spent[kind] = units + done, before + seconds

    def __call__(self, label: str, done: int, seconds: float) -> str:
        """Return the position and the time left, while a task is running; empty for tasks that are not counted."""
        kind, place = self._find(label)
        if not kind:
            return ""
        units, before = self._spent.get(kind, (0, 0.0))
        rates = {name: spent / count for name, (count, spent) in self._spent.items() if count}
        if units + done:
            rates[kind] = (before + seconds) / (units + done)
        where = "student" if kind == STUDENT else f"member {place + 1} of {len(self._costs.members)}"
        left = self._left(kind, place, done, rates)
        return where if left is None else f"{where}; about {_human(left)} left in all"

    def _find(self, label: str) -> tuple[str, int]:
        """Return the kind of a task, and the number of its member."""
        words = label.split()
        if words[:2] == ["train", "student"]:
            return STUDENT, len(self._costs.members)
        if not words or words[0] not in (TRAIN, SCORE) or words[-1] not in self._places:
            return "", 0
        return words[0], self._places[words[-1]]

    def _left(self, kind: str, place: int, done: int, rates: dict[str, float]) -> float | None:
        """Return the seconds left after `done` units of the current task; None if no speed is known yet."""
        costs = self._costs
        if TRAIN in rates:
            text = rates[TRAIN] / costs.batch
        elif SCORE in rates:
            text = rates[SCORE] / FORWARD
        elif STUDENT in rates:
            text = rates[STUDENT] / costs.student_batch
        else:
            return None
        update = rates.get(TRAIN, text * costs.batch)
        score = rates.get(SCORE, text * FORWARD)
        student = costs.student * rates.get(STUDENT, text * costs.student_batch)
        if kind == STUDENT:
            return max(0.0, student - done * rates.get(STUDENT, 0.0))
        later = sum(costs.updates[place + 1 :]) * update + (len(costs.members) - place - 1) * costs.scored * score
        if kind == SCORE:
            return later + student + max(0, costs.scored - done) * score
        return later + student + max(0, costs.updates[place] - done) * update + costs.scored * score


def outlook_of(run: ResolvedRun) -> Outlook | None:
    """Return the outlook of a run; None if its method trains no members."""
    settings, recipe = run.settings, run.recipe
    if not settings.trains_members:
        return None
    data, member, student = run.data, recipe.member, recipe.student
    labeled = 0 if data.train is None else len(data.train)
    sizes = [labeled]
    if run.plan is not None and data.pool is not None:
        wanted = (min(int(run.plan.wanted(one).sum()), len(data.pool)) for one in range(1, run.plan.last + 1))
        sizes += [labeled + count for count in wanted]
    names = [spec.name for spec in run.specs if not KINDS[spec.kind].asks]  # servers have speeds of their own
    pool, test = (0 if table is None else len(table) for table in (data.pool, data.test))
    trained = [(f"g{generation}/{name}", size) for generation, size in enumerate(sizes) if size for name in names]
    unlabeled = member.unlabeled_batch if pool else 0
    return Outlook(
        Costs(
            [stage for stage, _ in trained],
            [member.updates(size) for _, size in trained],
            scored=pool + test,
            student=student.steps if pool else 0,
            batch=(member.labeled_batch + unlabeled) * member.accumulation,
            student_batch=student.batch * student.accumulation,
        )
    )


def _human(seconds: float) -> str:
    """Return a rough duration.

    Examples
    --------
    >>> _human(42), _human(300), _human(7500)
    ('40 s', '5 min', '2 h 05 min')
    """
    if seconds < 100:
        return f"{max(10, round(seconds / 10) * 10)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
