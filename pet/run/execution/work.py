"""Steps that build members, and the queue of steps that are left.

A worker builds a stage in a temporary folder. Only the process that holds the run directory moves it into place. A
worker that dies loses the stage it was building, and one that was declared dead by mistake can do no harm.
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
from pet.run.pattern_labels import STAGE as PATTERN_LABELS
from pet.run.pattern_labels import learns_pattern_labels
from pet.run.stages import Member, build_member, build_scores, scored_parts
from pet.shortage import shortage
from pet.store.build import make_files
from pet.store.folders import TEMPORARY, remove_quietly

TRIES = 3  # workers that one stage may lose before the run stops


@dataclass(frozen=True)
class MemberWork:
    """The work on one member, in plain values that can be sent to another process.

    Attributes
    ----------
    member : the member
    start : stage of the member to continue training from; None: the pretrained model
    upstream : hash of the inputs of its training set and of `start`
    parts : texts to score: ``pool``, ``test``; parts that the run does not have are skipped
    """

    member: Member
    start: str | None = None
    upstream: str = ""
    parts: tuple[str, ...] = ("pool", "test")


@dataclass(frozen=True)
class Step:
    """One stage of a member: ``train`` or ``score``. Members that are not trained have a ``train`` step, too."""

    kind: str
    work: MemberWork

    @property
    def name(self) -> str:
        """Name of the stage that this step builds."""
        stage = self.work.member.stage
        return stage if self.kind == "train" else f"{stage}/scores"

    @property
    def files(self) -> list[str] | None:
        """The files it writes, if they share a folder with other stages; None if it has its own folder."""
        return None if self.kind == "train" else [f"{part}-logits.npy" for part in self.work.parts]

    def inputs(self, context: RunContext) -> dict[str, Any]:
        """Return the inputs that the stage depends on. The previous step must be finished."""
        if self.kind == "train":
            inputs = {"config": context.config_hash, "upstream": self.work.upstream}
            if self.work.member.generation == 0 and learns_pattern_labels(context, self.work.member.spec):
                inputs["examples"] = context.directory.fingerprint(PATTERN_LABELS)
            return inputs
        return {"config": context.config_hash, "member": context.directory.fingerprint(self.work.member.stage)}

    def build(self, context: RunContext, folder: Path) -> dict[str, Any] | None:
        """Build the stage's files in an empty folder."""
        work = self.work
        if self.kind == "train":
            start = None if work.start is None else context.directory.path / work.start
            return build_member(context, work.member, start, folder)
        build_scores(context, work.member, work.parts, folder)
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Step:
        """Return the step that `to_dict` describes."""
        work = {**values["work"], "parts": tuple(values["work"]["parts"])}
        return cls(values["kind"], MemberWork(**{**work, "member": Member.from_dict(work["member"])}))


def steps_of(context: RunContext, work: MemberWork) -> list[Step]:
    """Return the steps of a member. Each depends on the one before it."""
    parts = tuple(scored_parts(context, work.member, work.parts))
    work = replace(work, parts=parts)
    return [Step("train", work), *([Step("score", work)] if parts else [])]


class WorkQueue:
    """Queue of the steps of some members. It says which step can start and files the results.

    Parameters
    ----------
    context : the run; this process must hold its directory
    works : the work on each member
    """

    def __init__(self, context: RunContext, works: Iterable[MemberWork]):
        self._context = context
        self._ready = deque(steps_of(context, work) for work in works)
        self._lost: dict[str, int] = {}

    def next(self) -> list[Step] | None:
        """Return the remaining steps of a member, the first of which can start now; None if none can."""
        while self._ready:
            steps = self._ready.popleft()
            while steps and self._context.directory.has(steps[0].name, steps[0].inputs(self._context), steps[0].files):
                steps = steps[1:]
            if steps:
                return steps
        return None

    def keep(self, steps: list[Step], answer: Mapping[str, Any]) -> None:
        """Move the result of the first step into place, or raise its error. Then queue the next step.

        Parameters
        ----------
        steps : as returned by `next`
        answer : result of `make_step` for the first of them
        """
        if "problems" in answer:
            raise PetError(answer["problems"])
        step, context, root = steps[0], self._context, self._context.directory.path
        context.directory.keep(step.name, step.inputs(context), root / answer["folder"], answer["made"], step.files)
        for leftover in root.glob(_beside(step.name, "*")):  # left by lost workers
            remove_quietly(leftover)
        self._ready.appendleft(steps[1:])

    def lost(self, steps: list[Step], how: str) -> None:
        """Queue the steps of a lost worker again; raise a PetError if the first has lost `TRIES` workers."""
        name = steps[0].name
        self._lost[name] = self._lost.get(name, 0) + 1
        if self._lost[name] >= TRIES:
            raise lost_too_often(name, how)
        self._context.reporter.warn(f"{name}: lost its worker ({how}); retrying with another worker")
        self._ready.appendleft(steps)


def lost_too_often(name: str, how: str) -> PetError:
    """Return the error for a stage that keeps losing its workers."""
    return PetError(
        f"{name}: lost {TRIES} workers (the last one: {how}). The usual cause is running out of memory: use fewer "
        "--workers, a smaller model, or smaller --set inference_tokens and batch sizes. Finished work is kept"
    )


def make_step(context: RunContext, step: Step) -> dict[str, Any]:
    """Build a stage in a worker, which only reads from the run directory.

    Returns
    -------
    dict of plain values for `WorkQueue.keep`: ``folder`` (name of the new folder) and ``made`` (result of
    `pet.store.build.make_files`), or ``problems`` (messages of a PetError)
    """
    # The name is unique, so a worker that was declared dead but still builds the same stage does not interfere.
    folder = context.directory.path / _beside(step.name, uuid.uuid4().hex)
    try:
        made = make_files(step.name, folder, lambda place: step.build(context, place), step.files)
    except PetError as error:
        return {"problems": error.problems}
    except Exception as error:
        message = shortage(error)
        if message is None:
            raise
        return {"problems": [f"{step.name}: {message}"]}
    return {"folder": folder.name, "made": made}


def _beside(name: str, mark: str) -> str:
    return f"{TEMPORARY}{name.replace('/', '--')}@{mark}"


def clear_beside(root: Path) -> None:
    """Remove unfinished stages that lost workers left behind."""
    for leftover in root.glob(f"{TEMPORARY}*@*"):
        remove_quietly(leftover)
