"""Where the members of a run are made: in this process, in several on this machine, or on a Ray cluster.

Whoever makes a stage builds it in a folder of its own beside the finished ones. The process that holds the run
directory, and no other, takes it in. A worker that is lost at any moment loses the stage that it was at, and a
worker that was thought to be lost can do no harm.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pet.errors import PetError
from pet.run.settings import RunSettings
from pet.run.stages import Member, build_member, build_scores
from pet.store.build import make_files
from pet.store.files import TEMPORARY, remove_quietly

if TYPE_CHECKING:
    from pet.run.context import RunContext
    from pet.training.group import Group

EXECUTORS = ("local", "ray")
TRIES = 3  # workers that may be lost at one and the same stage


@dataclass(frozen=True)
class Execution:
    """Where members are made. None of it changes what a run's files hold, so none of it is a setting of the run.

    Attributes
    ----------
    executor : one of `EXECUTORS`
    workers : members that are made at a time; None: one a GPU, or 1 without; on Ray as many as there is room for
    worker_cpus : threads of each worker, and on Ray the processors that it asks for; None: its share of this process's
        threads; on Ray 1
    worker_gpus : GPUs that a worker asks for on Ray; None: 1 where the cluster has any
    ray_address : of a cluster; None: what RAY_ADDRESS says, a cluster of this machine, or else one that is started
    """

    executor: str = "local"
    workers: int | None = None
    worker_cpus: int | None = None
    worker_gpus: float | None = None
    ray_address: str | None = None

    def __post_init__(self) -> None:
        problems = []
        if self.executor not in EXECUTORS:
            problems.append(f"executor {self.executor!r} is not known; there are {', '.join(EXECUTORS)}")
        for name in ("workers", "worker_cpus"):
            value = getattr(self, name)
            if value is not None and value < 1:
                problems.append(f"--{name.replace('_', '-')} is {value}: it must be 1 or more")
        if self.worker_gpus is not None and self.worker_gpus < 0:
            problems.append(f"--worker-gpus is {self.worker_gpus}: it must be 0 or more")
        if self.executor != "ray":
            alone = [name for name in ("worker_gpus", "ray_address") if getattr(self, name) is not None]
            problems += [f"--{name.replace('_', '-')} goes with --executor ray" for name in alone]
        if problems:
            raise PetError(problems)


@dataclass(frozen=True)
class MemberWork:
    """What is to be made of one member, in plain values that can be sent to another process.

    Attributes
    ----------
    member : which
    trained : train it, and then score texts with it; else score them with the pretrained model
    start : stage of the member that its training goes on from; None: the pretrained model
    upstream : hash of what its texts and `start` were made from
    prefix : of the stages' names
    parts : texts to score: ``pool``, ``test``; those that the run has
    """

    member: Member
    trained: bool = True
    start: str | None = None
    upstream: str = ""
    prefix: str = ""
    parts: Sequence[str] = ("pool", "test")


@dataclass(frozen=True)
class Step:
    """One stage of a member: ``train`` or ``score``."""

    kind: str
    work: MemberWork

    @property
    def name(self) -> str:
        stage = f"{self.work.prefix}{self.work.member.stage}"
        return stage if self.kind == "train" else f"{stage}/scores"

    @property
    def files(self) -> list[str] | None:
        return None if self.kind == "train" else [f"{part}-logits.npy" for part in self.work.parts]

    def inputs(self, context: RunContext) -> dict[str, Any]:
        """What the stage depends on; the one before it must be there."""
        if self.kind == "train":
            return {"config": context.config_hash, "upstream": self.work.upstream}
        trained = context.directory.fingerprint(self.work.member.stage) if self.work.trained else ""
        return {"config": context.config_hash, "member": trained}

    def build(self, context: RunContext, folder: Path) -> dict[str, Any] | None:
        """Make the stage's files in an empty folder."""
        work, root = self.work, context.directory.path
        if self.kind == "train":
            return build_member(context, work.member, None if work.start is None else root / work.start, folder)
        trained = root / work.member.stage if work.trained else None
        build_scores(context, work.member, trained, work.prefix, work.parts, folder)
        return None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Step:
        work = dict(values["work"])
        return cls(values["kind"], MemberWork(**{**work, "member": Member(**work["member"])}))


def steps_of(context: RunContext, work: MemberWork) -> list[Step]:
    """The stages of a member, each of which needs the one before it."""
    parts = [part for part in work.parts if getattr(context.data, part) is not None]
    work = MemberWork(work.member, work.trained, work.start, work.upstream, work.prefix, parts)
    return [Step(kind, work) for kind, wanted in (("train", work.trained), ("score", parts)) if wanted]


class Executor(Protocol):
    """Makes members."""

    def make(self, context: RunContext, works: Sequence[MemberWork]) -> None:
        """Make all stages of these members that are not there yet."""

    def release(self) -> None:
        """Give devices back until the next `make`."""

    def close(self) -> None:
        """End what was started."""


class InProcess:
    """One member after another, in this process."""

    def make(self, context: RunContext, works: Sequence[MemberWork]) -> None:
        for step in (step for work in works for step in steps_of(context, work)):
            context.directory.stage(step.name, step.inputs(context), partial(step.build, context), files=step.files)

    def release(self) -> None:
        pass

    def close(self) -> None:
        pass


def make_members(context: RunContext, works: Sequence[MemberWork]) -> None:
    """Make all stages of these members that are not there yet, wherever the run makes its members."""
    (context.executor or InProcess()).make(context, works)


def release_devices(context: RunContext) -> None:
    """Let go of models, and let workers give their devices back, for this process to compute on."""
    context.forget()
    if context.executor is not None:
        context.executor.release()


class WorkQueue:
    """The stages of some members: which can be made now, and what becomes of those that were.

    Parameters
    ----------
    context : the run, whose directory this process holds
    works : the members
    """

    def __init__(self, context: RunContext, works: Iterable[MemberWork]):
        self._job = context
        self._ready = deque(steps_of(context, work) for work in works)
        self._lost: dict[str, int] = {}

    def next(self) -> list[Step] | None:
        """The steps that a member has before it, the first of which can be made now; None: there are none."""
        while self._ready:
            steps = self._ready.popleft()
            while steps and self._job.directory.has(steps[0].name, steps[0].inputs(self._job), steps[0].files):
                steps = steps[1:]
            if steps:
                return steps
        return None

    def keep(self, steps: list[Step], answer: Mapping[str, Any]) -> None:
        """Take in what `make_step` returned of the first one, or raise what went wrong; the next one comes up."""
        if "problems" in answer:
            raise PetError(answer["problems"])
        step, root = steps[0], self._job.directory.path
        self._job.directory.keep(step.name, step.inputs(self._job), root / answer["folder"], answer["made"], step.files)
        for leftover in root.glob(_beside(step.name, "*")):  # of workers that were lost
            remove_quietly(leftover)
        self._ready.appendleft(steps[1:])

    def lost(self, steps: list[Step], how: str) -> None:
        """A worker was lost; another one gets the step, unless it has cost too many."""
        name = steps[0].name
        self._lost[name] = self._lost.get(name, 0) + 1
        if self._lost[name] >= TRIES:
            raise lost_too_often(name, how)
        self._job.reporter.warn(f"{name}: the worker was lost ({how}); another one makes it anew")
        self._ready.appendleft(steps)


def lost_too_often(name: str, how: str) -> PetError:
    """The error for a stage at which one worker after another is lost."""
    return PetError(
        f"{name}: {TRIES} workers were lost while they made it (the last: {how}). Most often memory ran out: use fewer "
        "--workers, a smaller model, or --set inference_tokens and batch sizes that are smaller; finished work is kept"
    )


def make_step(context: RunContext, step: Step) -> dict[str, Any]:
    """Make a stage in a worker, where the run directory is open for reading only.

    Returns
    -------
    dict in plain values, for `WorkQueue.keep`: ``folder`` (name of what was made) and ``made``
    (`pet.store.build.make_files`), or ``problems``, the messages of a PetError
    """
    # Nobody else has this name: not an earlier worker for the same stage, should it still be alive.
    folder = context.directory.path / _beside(step.name, uuid.uuid4().hex)
    try:
        made = make_files(step.name, folder, lambda place: step.build(context, place), step.files)
    except PetError as error:
        return {"problems": error.problems}
    return {"folder": folder.name, "made": made}


def _beside(name: str, mark: str) -> str:
    return f"{TEMPORARY}{name.replace('/', '--')}@{mark}"


def clear_beside(root: Path) -> None:
    """Remove what workers that are gone have left unfinished."""
    for leftover in root.glob(f"{TEMPORARY}*@*"):
        remove_quietly(leftover)


def make_executor(execution: Execution, settings: RunSettings, group: Group | None = None) -> Executor:
    """What makes the members of a run.

    Raises
    ------
    PetError
        When Ray is asked for and not installed, several workers for one named device, or both them and a group.
    """
    if group is not None:
        from pet.run.execution.data_parallel import DataParallel

        if execution != Execution():
            raise PetError(
                f"{group.size} processes were started together (accelerate launch, torchrun) and train each member "
                "together; leave out --executor and --workers, or start one process"
            )
        return DataParallel(group)
    if execution.executor == "ray":
        from pet.run.execution.on_ray import OnRay

        return OnRay(execution)
    from pet.run.execution.workers import Workers, gpus_for

    gpus = gpus_for(settings.device)
    count = execution.workers or max(1, len(gpus))
    if count == 1 and execution.worker_cpus is None:
        return InProcess()
    kind, _, number = settings.device.partition(":")
    if count > 1 and (number or kind not in ("auto", "cpu", "cuda")):
        raise PetError(f"--device {settings.device} is one device, and --workers {count} want several; leave one out")
    return Workers(count, execution.worker_cpus, gpus)
