"""The steps that make members, and the queue of those that are still to be made.

A stage is built in a folder beside the finished ones. Only the process that holds the run directory moves it into
place. A worker that dies at any moment loses the stage it was working on, and a worker that was wrongly taken for
dead can do no harm.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pet.errors import PetError
from pet.run.context import RunContext
from pet.run.stages import Member, build_member, build_scores, scored_parts
from pet.store.build import make_files
from pet.store.files import TEMPORARY, remove_quietly

TRIES = 3  # workers that may be lost on the same stage


@dataclass(frozen=True)
class MemberWork:
    """What is needed of one member, in plain values that can be sent to another process.

    Attributes
    ----------
    member : the member
    start : stage of the member that training goes on from; None: the pretrained model
    upstream : hash of what its training set and `start` were made from
    parts : texts to score: ``pool``, ``test``; those that the run does not have are left out
    """

    member: Member
    start: str | None = None
    upstream: str = ""
    parts: tuple[str, ...] = ("pool", "test")


@dataclass(frozen=True)
class Step:
    """One stage of a member: ``train`` or ``score``. Members that do not learn have a ``train`` step, too."""

    kind: str
    work: MemberWork

    @property
    def name(self) -> str:
        """The stage that it makes."""
        stage = self.work.member.stage
        return stage if self.kind == "train" else f"{stage}/scores"

    @property
    def files(self) -> list[str] | None:
        """The files it makes beside other stages; None: a folder of its own."""
        return None if self.kind == "train" else [f"{part}-logits.npy" for part in self.work.parts]

    def inputs(self, context: RunContext) -> dict[str, Any]:
        """What the stage depends on. The step before it must be finished."""
        if self.kind == "train":
            return {"config": context.config_hash, "upstream": self.work.upstream}
        return {"config": context.config_hash, "member": context.directory.fingerprint(self.work.member.stage)}

    def build(self, context: RunContext, folder: Path) -> dict[str, Any] | None:
        """Make the stage's files in an empty folder."""
        work = self.work
        if self.kind == "train":
            start = None if work.start is None else context.directory.path / work.start
            return build_member(context, work.member, start, folder)
        build_scores(context, work.member, work.parts, folder)
        return None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Step:
        """The inverse of `to_dict`."""
        work = {**values["work"], "parts": tuple(values["work"]["parts"])}
        return cls(values["kind"], MemberWork(**{**work, "member": Member.from_dict(work["member"])}))


def steps_of(context: RunContext, work: MemberWork) -> list[Step]:
    """The stages of a member, each of which needs the one before it."""
    parts = tuple(scored_parts(context, work.member, work.parts))
    work = replace(work, parts=parts)
    return [Step("train", work), *([Step("score", work)] if parts else [])]


class WorkQueue:
    """The steps of some members: which can start now, and what becomes of those that ran.

    Parameters
    ----------
    context : the run, whose directory this process holds
    works : the members
    """

    def __init__(self, context: RunContext, works: Iterable[MemberWork]):
        self._context = context
        self._ready = deque(steps_of(context, work) for work in works)
        self._lost: dict[str, int] = {}

    def next(self) -> list[Step] | None:
        """The remaining steps of a member, the first of which can start now; None if there are none."""
        while self._ready:
            steps = self._ready.popleft()
            while steps and self._context.directory.has(steps[0].name, steps[0].inputs(self._context), steps[0].files):
                steps = steps[1:]
            if steps:
                return steps
        return None

    def keep(self, steps: list[Step], answer: Mapping[str, Any]) -> None:
        """Move the result of the first step into place, or raise its error; then queue the next step.

        Parameters
        ----------
        steps : what `next` returned
        answer : what `make_step` returned for the first of them
        """
        if "problems" in answer:
            raise PetError(answer["problems"])
        step, context, root = steps[0], self._context, self._context.directory.path
        context.directory.keep(step.name, step.inputs(context), root / answer["folder"], answer["made"], step.files)
        for leftover in root.glob(_beside(step.name, "*")):  # of workers that were lost
            remove_quietly(leftover)
        self._ready.appendleft(steps[1:])

    def lost(self, steps: list[Step], how: str) -> None:
        """Queue the steps of a lost worker again, unless the first has cost too many workers."""
        name = steps[0].name
        self._lost[name] = self._lost.get(name, 0) + 1
        if self._lost[name] >= TRIES:
            raise lost_too_often(name, how)
        self._context.reporter.warn(f"{name}: lost its worker ({how}); another worker starts it again")
        self._ready.appendleft(steps)


def lost_too_often(name: str, how: str) -> PetError:
    """The error for a stage that keeps losing its workers."""
    return PetError(
        f"{name}: lost {TRIES} workers (the last one: {how}). Most often memory ran out: use fewer --workers, a "
        "smaller model, or a smaller --set inference_tokens and batch sizes. Finished work is kept"
    )


def make_step(context: RunContext, step: Step) -> dict[str, Any]:
    """Make a stage in a worker, which has the run directory open for reading only.

    Returns
    -------
    Plain values for `WorkQueue.keep`: ``folder`` (name of the folder that was made) and ``made``
    (`pet.store.build.make_files`), or ``problems``, the messages of a PetError.
    """
    # No other worker has this name, not even an earlier one for the same stage that is still alive.
    folder = context.directory.path / _beside(step.name, uuid.uuid4().hex)
    try:
        made = make_files(step.name, folder, lambda place: step.build(context, place), step.files)
    except PetError as error:
        return {"problems": error.problems}
    return {"folder": folder.name, "made": made}


def _beside(name: str, mark: str) -> str:
    return f"{TEMPORARY}{name.replace('/', '--')}@{mark}"


def clear_beside(root: Path) -> None:
    """Remove what lost workers have left unfinished."""
    for leftover in root.glob(f"{TEMPORARY}*@*"):
        remove_quietly(leftover)
