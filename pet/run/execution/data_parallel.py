"""One member after another, each trained by several processes at once, on as many GPUs.

The first process goes through the run as it would alone. Of each member's training it tells the others, who train
the same one with other micro-batches and keep nothing; everything else they wait for.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pet.errors import PetError
from pet.progress import Reporter
from pet.recipe import Recipe
from pet.run.execution.executor import MemberWork, Step, WorkQueue, make_step
from pet.run.execution.payload import Payload, read_spool
from pet.run.stages import fit_member
from pet.training.group import Group

if TYPE_CHECKING:
    from pet.run.context import RunContext


class DataParallel:
    """The first of several processes that train each member together."""

    def __init__(self, group: Group):
        self._group = group
        self._spool = Payload()

    def make(self, context: RunContext, works: Sequence[MemberWork]) -> None:
        agenda = WorkQueue(context, works)
        while (steps := agenda.next()) is not None:
            if steps[0].kind == "train":
                self._group.send({"payload": str(self._spool.of(context, None)), "step": steps[0].to_dict()})
                context.group = self._group
            try:
                agenda.keep(steps, make_step(context, steps[0]))
            finally:
                context.group = None

    def release(self) -> None:
        pass  # each process keeps its own device

    def close(self) -> None:
        self._spool.close()


def check_share(recipe: Recipe, group: Group) -> None:
    """Refuse an update whose micro-batches cannot be divided evenly.

    Raises
    ------
    PetError
        With settings that make updates of the same size.
    """
    if recipe.member.accumulation % group.size == 0:
        return
    cure = f"--set accumulation={recipe.member.accumulation * group.size}"
    batches = {"labeled_batch": recipe.member.labeled_batch, "unlabeled_batch": recipe.member.unlabeled_batch}
    for name, count in batches.items():
        if count:
            cure += f" --set {name}={max(1, round(count / group.size))}"
    raise PetError(
        f"accumulation is {recipe.member.accumulation}: {group.size} processes share the micro-batches of an update, "
        f"so it must be a multiple of {group.size}; {cure} makes updates of about the same size"
    )


def follow(group: Group) -> None:
    """Train with the first process whatever it says, until it ends."""
    opened: tuple[str, RunContext] | None = None
    while "end" not in (order := group.receive()):
        if opened is None or opened[0] != order["payload"]:
            opened = (order["payload"], read_spool(Path(order["payload"]), Reporter("quiet")))
        context = opened[1]
        context.group = group
        step = Step.from_dict(order["step"])
        start = None if step.work.start is None else context.directory.path / step.work.start
        with suppress(PetError):  # a loss that is no number is one in every process, and the first one says so
            fit_member(context, step.work.member, start)
