"""The generations of iPET: members label training texts for each other, round after round.

The members of a generation are trained and score the pool. They then label the training sets of the next generation.
Every step is a stage of the run directory, so a run can resume in the middle of a generation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pet.ensemble.combine import Ensemble
from pet.ensemble.pseudo_labels import most_probable
from pet.ipet.figures import example_figures, pool_figures, shortages
from pet.ipet.plan import Plan
from pet.ipet.selection import best_generation, generation_warnings
from pet.report.generations import generation_line
from pet.run.acceptance import Acceptance
from pet.run.choosing import Chooser
from pet.run.class_ratio import target_ratio
from pet.run.context import RunContext
from pet.run.execution.executor import Executor
from pet.run.execution.work import MemberWork
from pet.run.merging import evaluate_ensemble, label_pool
from pet.run.second_view import SecondView
from pet.run.stages import Member, members_of, trained_members
from pet.run.weights import make_ensemble, pattern_accuracies
from pet.store.files import hash_inputs

Array = NDArray[Any]
# Number of a generation -> accuracy of its pseudo-labels; see pet.run.pool_gold.
Diagnose = Callable[[int], Mapping[str, Any]]


@dataclass
class Generations:
    """The loop over generations, and the results of the finished ones.

    Attributes
    ----------
    context : the run
    executor : trains and scores the members
    plan : sizes of the training sets
    diagnose : returns figures for people, which do not affect the run
    history : figures of each finished generation
    agreement, largest_share : of each finished generation; see `pet.ipet.selection.best_generation`
    """

    context: RunContext
    executor: Executor
    plan: Plan
    diagnose: Diagnose | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    agreement: list[float] = field(default_factory=list)
    largest_share: list[float] = field(default_factory=list)
    _ensembles: dict[int, Ensemble] = field(default_factory=dict)

    def run(self) -> int:
        """Train and label all generations; return the number of the one that the student learns from."""
        settings, reporter = self.context.recipe.ipet, self.context.reporter
        for generation in range(self.plan.last + 1):
            if generation and self._ends_before(generation):
                break
            self._generation(generation)
            if not self._accepted(generation):
                break
            trained = self.agreement[self._first :]
            if settings.stop_early and len(trained) > 1 and trained[-1] <= trained[-2]:
                if generation < self.plan.last:
                    reporter.info(f"stopping early: members of generation {generation} agree no more than before")
                break
        last = len(self.history) - 1
        if not self.history[last]["accepted"]:
            last -= 1
        if not settings.keep_best or last < self._first:  # no trained generation was accepted
            return last
        kept = slice(self._first, last + 1)
        best = self._first + best_generation(self.agreement[kept], self.largest_share[kept])
        if best != last:
            reporter.info(f"the student learns from generation {best}, whose members agree most")
        return best

    def _ends_before(self, generation: int) -> bool:
        """Return True, and say why, if the next generation could not be judged and so is not trained."""
        if self.context.recipe.ipet.accept == "always":
            return False
        why = self._acceptance.cannot_judge(self.members(generation - 1))
        if why:
            self.history[-1]["ended"] = why
            self.context.reporter.info(f"the run keeps generation {generation - 1}, because {why}")
        return bool(why)

    def _accepted(self, generation: int) -> bool:
        """Decide whether a generation is used, and say why."""
        entry, reporter = self.history[generation], self.context.reporter
        entry["accepted"] = True
        if not generation or self.context.recipe.ipet.accept == "always":
            return True
        decision = self._acceptance.decide(self.members(generation - 1), self.members(generation))
        entry |= decision
        if not decision["accepted"]:
            reporter.info(
                f"generation {generation} is not used, and the run keeps generation {generation - 1}: "
                f"{decision['reason']}"
            )
        return bool(decision["accepted"])

    @property
    def _first(self) -> int:
        """The first generation that is trained."""
        return 0 if self.plan.labeled else 1

    @cached_property
    def _view(self) -> SecondView:
        return SecondView(self.context)

    @cached_property
    def _in_ratio(self) -> Plan:
        """The schedule in the class ratio of the run, which may be known only after the first generation."""
        target = target_ratio(self.context, trained_members(self.context))
        if target is None or self.context.recipe.ipet.ratio != "auto":
            return self.plan
        return replace(self.plan, ratio=target / target.sum())

    @cached_property
    def _chooser(self) -> Chooser:
        return Chooser(self.context, self._in_ratio, self._view)

    @cached_property
    def _acceptance(self) -> Acceptance:
        return Acceptance(self.context, self._in_ratio, self._view)

    @cached_property
    def _accuracies(self) -> list[float] | None:
        """Accuracy of each pattern before training, which weights its members."""
        return pattern_accuracies(self.context) if self.plan.labeled else None

    def members(self, generation: int) -> list[Member]:
        """Return the members of a generation."""
        return members_of(self.context, generation)

    def ensemble(self, generation: int) -> Ensemble:
        """Return the ensemble of a finished generation, with weights and bias."""
        return self._ensembles[generation]

    def _generation(self, generation: int) -> None:
        members = self.members(generation)
        if self._first == 0:
            _ = self._accuracies  # builds a stage that must come before the members
        examples = {}
        if generation:
            before = generation - 1
            examples = self._chooser.choose(members, self.members(before), self._ensembles[before])
        self.executor.make(
            self.context, [MemberWork(m, start=self._start(m), upstream=self._upstream(m)) for m in members]
        )
        weighted = make_ensemble(self.context, members, self._accuracies)
        self._ensembles[generation] = label_pool(self.context, members, weighted)
        self._note(generation, examples)

    def _start(self, member: Member) -> str | None:
        """Return the stage of the member to continue training from; None: the pretrained model."""
        before = Member(member.spec, member.generation - 1)
        if self.context.recipe.ipet.restart or before.generation < self._first or not member.trains:
            return None
        return before.stage

    def _upstream(self, member: Member) -> str:
        """Return a hash of the inputs of a member's training set and of the member it starts from."""
        if not member.generation or not member.trains:
            return ""
        directory, start = self.context.directory, self._start(member)
        stages = [f"g{member.generation}/examples", *([] if start is None else [start])]
        return hash_inputs({stage: directory.fingerprint(stage) for stage in stages})

    # ---- figures -----------------------------------------------------------------------------

    def _soft_labels(self, generation: int) -> pa.Table:
        return pq.read_table(self._labels_file(generation), columns=["confidence", "agreement"])

    def _labels_of(self, generation: int) -> Array:
        return most_probable(self._labels_file(generation), self.context.task.labels)

    def _labels_file(self, generation: int) -> Path:
        return self.context.directory.path / f"g{generation}" / "labels.parquet"

    def _note(self, generation: int, examples: Mapping[str, Any]) -> None:
        context, labels = self.context, self.context.task.labels
        table = self._soft_labels(generation)
        confidence, agreement = table["confidence"], table["agreement"]
        label = self._labels_of(generation)
        before = self._labels_of(generation - 1) if generation else None
        pool = pool_figures(label, confidence.to_numpy(), agreement.to_numpy(), before, len(labels))
        shares = np.asarray(pool["shares"])
        self.agreement.append(pool["agreement"])
        self.largest_share.append(float(shares.max()))
        wanted = np.asarray(examples["wanted"]) if examples else None
        for message in [
            *shortages(generation, examples, labels),
            *generation_warnings(generation, self.agreement, shares, wanted, labels),
        ]:
            context.reporter.warn(message)
        trained, labeled = generation >= self._first, len(context.texts("train")) if context.has("train") else 0
        entry: dict[str, Any] = {"generation": generation, "trained": trained, "labeled": labeled, "pool": pool}
        entry |= example_figures(examples)
        if context.has("test"):
            figures = evaluate_ensemble(context, self.members(generation), self.ensemble(generation))
            entry["test"] = figures["ensemble"]
        if self.diagnose is not None:
            entry["gold"] = dict(self.diagnose(generation))
        self.history.append(entry)
        context.reporter.info(generation_line(entry))
