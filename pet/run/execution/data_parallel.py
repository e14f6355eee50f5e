"""Data parallelism: train one member at a time, each on several processes with one GPU each.

The main process does the run as it would alone. Before it trains a member, it sends the others the step. They train
the same member on other micro-batches and save nothing. They idle during everything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pet.errors import PetError
from pet.members import pattern
from pet.progress import Reporter
from pet.recipe import Recipe
from pet.run.context import RunContext
from pet.run.execution.payload import Payload, read_payload
from pet.run.execution.work import MemberWork, Step, WorkQueue, make_step
from pet.run.stages import fit_member
from pet.store.temporary import Scratch
from pet.training.group import Group


class DataParallel:
    """The executor of the main process in a group that trains each member together.

    Parameters
    ----------
    group : all processes of the group
    """

    def __init__(self, group: Group):
        self._group = group
        self._payload = Payload()

    def make(self, context: RunContext, works: Sequence[MemberWork]) -> None:
        work_queue = WorkQueue(context, works)
        while (steps := work_queue.next()) is not None:
            step = steps[0]
            if step.kind == "train" and step.work.member.spec.kind == pattern.KIND:
                self._group.send({"payload": str(self._payload.of(context, None)), "step": step.to_dict()})
                context.shared.group = self._group
            try:
                work_queue.keep(steps, make_step(context, step))
            finally:
                context.shared.group = None

    def release(self) -> None:
        pass  # each process keeps its device

    def close(self) -> None:
        self._payload.close()


def check_share(recipe: Recipe, group: Group) -> None:
    """Check that the processes can share the micro-batches of an update evenly.

    Raises
    ------
    PetError
        If they cannot. Names settings that keep the size of an update.
    """
    if recipe.member.accumulation % group.size == 0:
        return
    cure = f"--set accumulation={recipe.member.accumulation * group.size}"
    batches = {"labeled_batch": recipe.member.labeled_batch, "unlabeled_batch": recipe.member.unlabeled_batch}
    for name, count in batches.items():
        if count:
            cure += f" --set {name}={max(1, round(count / group.size))}"
    raise PetError(
        f"accumulation is {recipe.member.accumulation}, but must be a multiple of {group.size} because {group.size} "
        f"processes share the micro-batches of an update; {cure} keeps the update size about the same"
    )


def follow(group: Group) -> None:
    """Train every member that the main process trains, until it sends the end."""
    opened: tuple[str, RunContext] | None = None
    while "end" not in (order := group.receive()):
        if opened is None or opened[0] != order["payload"]:
            opened = (order["payload"], read_payload(Path(order["payload"]), Reporter("quiet")))
        context = opened[1]
        context.shared.group = group
        work = Step.from_dict(order["step"]).work
        start = None if work.start is None else context.directory.path / work.start
        # If training diverges, every process sees the same loss, and the main process reports it.
        with Scratch() as folder, suppress(PetError):
            fit_member(context, work.member, start, folder)
