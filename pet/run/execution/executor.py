"""The protocol of executors, which train and score members, and the simplest executor."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

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
