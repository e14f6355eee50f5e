"""The protocol of executors, which train and score members, and the simplest executor."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from pet.members.kinds import KINDS
from pet.run.context import RunContext
from pet.run.execution.work import MemberWork, steps_of


class Executor(Protocol):
    """Trains and scores members."""

    def make(self, context: RunContext, works: Sequence[MemberWork]) -> None:
        """Build the missing stages of these members."""

    def release(self) -> None:
        """Free the devices until the next `make`."""

    def close(self) -> None:
        """Stop everything that was started."""


class InProcess:
    """Trains and scores one member at a time, in this process."""

    def make(self, context: RunContext, works: Sequence[MemberWork]) -> None:
        for step in (step for work in works for step in steps_of(context, work)):
            context.directory.stage(step.name, step.inputs(context), partial(step.build, context), files=step.files)

    def release(self) -> None:
        pass

    def close(self) -> None:
        pass


class TeachersFirst:
    """Makes members that ask a server in this process, before another executor makes the others.

    A server that does not answer is then found before anything is trained. Keys stay in this process.

    Parameters
    ----------
    others : the executor for all other members
    """

    def __init__(self, others: Executor):
        self._others = others

    def make(self, context: RunContext, works: Sequence[MemberWork]) -> None:
        first = [work for work in works if KINDS[work.member.spec.kind].asks]
        InProcess().make(context, first)
        self._others.make(context, [work for work in works if work not in first])

    def release(self) -> None:
        self._others.release()

    def close(self) -> None:
        self._others.close()
