"""Write decisions about texts so that none is lost: to disk at once, with several writers at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from pet.data.reviewed import UNDONE, Decision, Decisions, LineParser, is_foreign
from pet.errors import PetError
from pet.resources import expand
from pet.store.disk import disk_errors
from pet.store.outputs import check_folder
from pet.store.shared_lines import SharedLines, decoded, is_complete
from pet.task.task import Task

NAME = "reviewed.jsonl"
_MOST_PROBLEMS = 10


class Conflict(PetError):
    """Somebody else has decided about a text in the meantime."""


@dataclass(frozen=True)
class Replaced:
    """A decision of somebody else that the writer had not seen, and that no longer holds."""

    now: Decision
    before: Decision | None


class Ledger:
    """The decisions in a file, with those that other tabs and processes append.

    Parameters
    ----------
    path : the file, which need not exist
    task : the task
    check : returns what is wrong with a decision that is in the file, or None
    clock : returns the time

    Attributes
    ----------
    decisions : those that were read so far
    revision : the last line that was read

    Raises
    ------
    PetError
        If the file cannot be written, or with the first mistakes in it.

    Examples
    --------
    >>> ledger = Ledger("reviewed.jsonl", Task.load("reviews.yaml"))
    >>> ledger.decide([Decision("a", {"text": "Good."}, "good", "labeled")], [0])
    []
    >>> ledger.decisions.latest("a")[0]
    1
    """

    def __init__(
        self,
        path: str | Path,
        task: Task,
        check: Callable[[Decision], str | None] = lambda decision: None,
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ):
        self.path = expand(path)
        if self.path.is_dir():
            raise PetError(f"{path}: is a folder; name a file in it, such as {self.path / NAME}")
        check_folder(self.path.parent)
        self.decisions = Decisions()
        self.revision = 0
        self._lines = SharedLines(self.path)
        self._parse = LineParser(task.labels, task.fields, several=task.multi_label)
        self._check = check
        self._clock = clock
        self._refuse_foreign()
        self.sync()
        self._check_tail()
        with self._lines.exclusive():  # so that a file that cannot be written is noticed now
            self.sync()

    def sync(self) -> None:
        """Read what other processes have appended.

        Raises
        ------
        PetError
            With the first mistakes in these lines.
        """
        problems: list[str] = []
        for number, line in self._lines.read():
            try:
                self.decisions.add(number, self._decision(line, f"{self.path}:{number}"))
            except PetError as error:
                problems += error.problems
            self.revision = number
        if problems:
            raise PetError(problems[:_MOST_PROBLEMS])

    def _decision(self, line: str, place: str) -> Decision:
        decision = self._parse(line, place)
        wrong = self._check(decision)
        if wrong:
            raise PetError(f"{place}: {wrong}")
        return decision

    def _refuse_foreign(self) -> None:
        """Refuse the file of another program, before anything is said about its lines or written to it."""
        if not self.path.is_file():
            return
        with disk_errors(f"read {self.path}", paths=True), self.path.open("rb") as stream:
            foreign = is_foreign(stream)
        if foreign:
            raise PetError(
                f"{self.path}: is not a file of decisions that `pet review` has written, and stays as it is; name "
                "another file with -o (a table that was filled in is read with --read)"
            )

    def _check_tail(self) -> None:
        """Refuse a last line without a line break that is no decision before the end of the file is repaired."""
        tail = self._lines.tail
        if is_complete(tail):
            place = f"{self.path}: last line"
            self._decision(decoded(tail, place), place)

    def decide(self, decisions: Sequence[Decision], seen: Sequence[int]) -> list[Replaced]:
        """Save decisions. They replace earlier ones about the same texts.

        Parameters
        ----------
        decisions : what was decided; their time is set here
        seen : for each text the last line about it that the writer has seen; 0 for none

        Returns
        -------
        list of Replaced
            Decisions of others that the writer had not seen.
        """
        with self._lines.exclusive():
            self.sync()
            time = self._time()
            replaced = [
                Replaced(decision, None if held is None else held[1])
                for decision, line in zip(decisions, seen, strict=True)
                if self.decisions.changed(decision.id) != line
                for held in [self.decisions.latest(decision.id)]
            ]
            self._lines.append([replace(decision, time=time).to_json() for decision in decisions])
            self.sync()
        return replaced

    def undo(self, made: Mapping[str, int]) -> list[str]:
        """Take back decisions; what was decided about these texts before holds again.

        Parameters
        ----------
        made : text -> line of the decision to take back

        Returns
        -------
        list of str
            The texts whose decisions were taken back. The others keep what somebody else has decided since.

        Raises
        ------
        Conflict
            If none of these decisions holds any more.
        """
        with self._lines.exclusive():
            self.sync()
            held = [pair[1] for name in made if (pair := self.decisions.latest(name)) and pair[0] == made[name]]
            if made and not held:
                raise Conflict("your decision no longer holds: somebody else has changed it; look at the text again")
            return self._take_back(held)

    def undo_last(self, line: int | None = None) -> list[str]:
        """Take back the decisions that were made last, all of them if they were made at once.

        Parameters
        ----------
        line : decisions on later lines stay; default: none do

        Returns
        -------
        list of str
            The texts; empty if there is nothing to take back.
        """
        with self._lines.exclusive():
            self.sync()
            return self._take_back(self._last(self.revision if line is None else line))

    def _take_back(self, held: Sequence[Decision]) -> list[str]:
        if held:
            undone = {"label": None, "verdict": UNDONE, "note": "", "time": self._time()}
            self._lines.append([replace(decision, **undone).to_json() for decision in held])  # type: ignore[arg-type]
            self.sync()
        return [decision.id for decision in held]

    def _time(self) -> str:
        """Return the time, but never that of the last decision: equal times mean that decisions were made at once."""
        now = self._clock()
        times = [decision.time for _, decision in self.decisions.final().values()][-1:]
        if now.isoformat(timespec="milliseconds") in times:
            now += timedelta(milliseconds=1)
        return now.isoformat(timespec="milliseconds")

    def _last(self, line: int) -> list[Decision]:
        """Return the decisions up to a line that were made last: one, or several that were made at once."""
        final = [(number, decision) for number, decision in self.decisions.final().values() if number <= line]
        if not final:
            return []
        last, time = final[-1][0], final[-1][1].time
        return [
            decision
            for back, (number, decision) in enumerate(reversed(final))
            if number == last - back and decision.time == time and (time or not back)
        ]
