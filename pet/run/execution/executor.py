"""What makes the members of a run, and the simplest way: one after another, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from pet.run.context import RunContext
from pet.run.execution.work import MemberWork, steps_of


class Executor(Protocol):
    """Makes members."""

    def make(self, context: RunContext, works: Sequence[MemberWork]) -> None:
        """Make all stages of these members that do not exist yet."""

    def release(self) -> None:
        """Give devices back until the next `make`."""

    def close(self) -> None:
        """End everything that was started."""


class InProcess:
    """One member after another, in this process."""

    def make(self, context: RunContext, works: Sequence[MemberWork]) -> None:
        for step in (step for work in works for step in steps_of(context, work)):
            context.directory.stage(step.name, step.inputs(context), partial(step.build, context), files=step.files)

    def release(self) -> None:
        pass

    def close(self) -> None:
        pass
