"""The generations of iPET: members label training texts for each other, round after round.

The members of a generation are trained and score the pool. They then label the training sets of the next generation.
Every step is a stage of the run directory, so a run can resume in the middle of a generation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pet.data.checks import text_key
from pet.ensemble.class_ratio import AUTO
from pet.ensemble.combine import Ensemble
from pet.ensemble.pseudo_labels import label_positions, write_pseudo_labels
from pet.ipet.figures import example_figures, pool_figures, shortages
from pet.ipet.plan import Plan
from pet.ipet.selection import (
    Candidates,
    Chosen,
    best_generation,
    choose_voters,
    draw_confident,
    generation_warnings,
    take_most_probable,
)
from pet.report.generations import generation_line
from pet.run.class_ratio import target_ratio
from pet.run.context import RunContext
from pet.run.execution.executor import Executor
from pet.run.execution.work import MemberWork
from pet.run.merging import (
    evaluate_ensemble,
    label_pool,
)
from pet.run.stages import Member, member_scores, trained_members, untrained_members
from pet.run.weights import make_ensemble, pattern_accuracies
from pet.seeds import derive_seed
from pet.store.files import hash_inputs
from pet.store.schema import Check, list_of, mapping_of, maybe, number, record, whole

Array = NDArray[Any]
# Number of a generation -> accuracy of its pseudo-labels; see pet.run.pool_gold.
Diagnose = Callable[[int], Mapping[str, Any]]


def _examples_note(labels: int) -> Check:
    """Return the schema of what a stage ``gN/examples`` notes."""
    counts = list_of(whole(0, 10**15), labels, labels, per="one per label")
    member = record({"available": counts, "chosen": counts, "confidence": maybe(number(0, 1))})
    return record({"wanted": counts, "members": mapping_of(member)})


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
            self._generation(generation)
            trained = self.agreement[self._first :]
            if settings.stop_early and len(trained) > 1 and trained[-1] <= trained[-2]:
                if generation < self.plan.last:
                    reporter.info(f"stopping early: members of generation {generation} agree no more than before")
                break
        last = len(self.history) - 1
        if not settings.keep_best:
            return last
        best = self._first + best_generation(self.agreement[self._first :], self.largest_share[self._first :])
        if best != last:
            reporter.info(f"the student learns from generation {best}, whose members agree most")
        return best

    @property
    def _first(self) -> int:
        """The first generation that is trained."""
        return 0 if self.plan.labeled else 1

    @cached_property
    def _accuracies(self) -> list[float] | None:
        """Accuracy of each pattern before training, which weights its members."""
        return pattern_accuracies(self.context) if self.plan.labeled else None

    def members(self, generation: int) -> list[Member]:
        """Return the members of a generation."""
        make = trained_members if generation >= self._first else untrained_members
        return make(self.context, generation)

    def ensemble(self, generation: int) -> Ensemble:
        """Return the ensemble of a finished generation, with weights and bias."""
        return self._ensembles[generation]

    def _generation(self, generation: int) -> None:
        members = self.members(generation)
        if self._first == 0:
            _ = self._accuracies  # builds a stage that must come before the members
        examples = self._choose(generation) if generation else {}
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

    # ---- selection ---------------------------------------------------------------------------

    @cached_property
    def _eligible(self) -> Array:
        """Mask of the pool's rows that can become examples: not empty, and the first row with their text."""
        keys = self.context.data.keys["pool"]
        eligible = np.zeros(len(keys), dtype=bool)
        eligible[np.unique(keys, return_index=True)[1]] = True
        return np.asarray(eligible & (keys != np.uint64(text_key([""] * len(self.context.task.fields)))))

    def _choose(self, generation: int) -> dict[str, Any]:
        """Choose and write the pseudo-labeled texts of each member; return figures about them."""
        context, before = self.context, self.members(generation - 1)
        wanted = self.plan.wanted(generation)

        def build(folder: Path) -> dict[str, Any]:
            ids = pa.array(context.texts("pool").ids, pa.string())
            members = [member for member in self.members(generation) if member.trains]
            figures = {}
            with context.reporter.task(f"choose texts for generation {generation}", len(members), "member") as bar:
                for member in members:
                    names = self._voters(member, before)
                    chosen = self._keep(folder, member, self._candidates(before, names), wanted, ids)
                    figures[member.name] = chosen | {"voters": names}
                    bar.update()
            return {"wanted": wanted.tolist(), "members": figures}

        inputs = {
            "config": context.config_hash,
            "labels": context.directory.fingerprint(f"g{generation - 1}/labels"),
            "scores": [context.directory.fingerprint(f"{m.stage}/scores") for m in before],
        }
        context.directory.stage(f"g{generation}/examples", inputs, build)
        return context.directory.info(f"g{generation}/examples", _examples_note(len(wanted)))

    def _candidates(self, before: Sequence[Member], names: Sequence[str]) -> Candidates:
        """Return the merged predictions of some members of the previous generation for the pool."""
        ensemble = self._ensembles[before[0].generation].only(names)
        by_name = {member.name: member for member in before}
        scores = member_scores(self.context, [by_name[name] for name in names], "pool")
        recipe, target = self.context.recipe, None
        if recipe.ipet.calibrate:
            target = self.plan.target()
        elif recipe.merging.prior != AUTO:  # without it, the best texts of each label are chosen whatever the bias
            target = target_ratio(self.context, before)
        return Candidates.of(ensemble, scores, target)

    def _keep(self, folder: Path, member: Member, voters: Candidates, wanted: Array, ids: pa.Array) -> dict[str, Any]:
        """Choose and write the texts of one member; return figures about them."""
        chosen = self._chosen(member, voters, wanted)
        probabilities = voters.probabilities(chosen.rows)
        path = folder / f"{member.name}.parquet"
        write_pseudo_labels(path, chosen.rows, chosen.labels, ids, probabilities, self.context.task.labels)
        confidence = probabilities[np.arange(len(chosen.rows)), chosen.labels]
        return {
            "available": chosen.available.tolist(),
            "chosen": np.bincount(chosen.labels, minlength=len(wanted)).tolist(),
            "confidence": float(confidence.mean()) if len(confidence) else None,
        }

    def _voters(self, member: Member, before: Sequence[Member]) -> list[str]:
        """Draw the members that label for a member. Untrained members with the same pattern are excluded."""
        others = [m.name for m in before if m.name != member.name]
        if before[0].generation < self._first and member.spec.pattern is not None:
            others = [m.name for m in before if m.spec.pattern != member.spec.pattern]
        return choose_voters(others, self.context.recipe.ipet.vote_share, self._generator("voters", member))

    def _generator(self, what: str, member: Member) -> np.random.Generator:
        seed = derive_seed(self.context.settings.seed, what, member.generation, *member.spec.seed_parts)
        return np.random.default_rng(seed)

    def _chosen(self, member: Member, voters: Candidates, wanted: Array) -> Chosen:
        settings = self.context.recipe.ipet
        if member.generation == 1 and not self.plan.labeled:
            return take_most_probable(voters, wanted, self._eligible)
        label, confidence = voters.predictions()
        eligible = self._eligible & (confidence >= settings.confidence_floor)
        if settings.selection == "top":
            return take_most_probable(voters, wanted, eligible)
        return draw_confident(label, confidence, wanted, eligible, self._generator("draw", member))

    # ---- figures -----------------------------------------------------------------------------

    def _soft_labels(self, generation: int, *columns: str) -> pa.Table:
        path = self.context.directory.path / f"g{generation}" / "labels.parquet"
        return pq.read_table(path, columns=list(columns))

    def _note(self, generation: int, examples: Mapping[str, Any]) -> None:
        context, labels = self.context, self.context.task.labels
        table = self._soft_labels(generation, "label", "confidence", "agreement")
        label, confidence, agreement = label_positions(table["label"], labels), table["confidence"], table["agreement"]
        before = label_positions(self._soft_labels(generation - 1, "label")["label"], labels) if generation else None
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
        trained, labeled = generation >= self._first, int(self.plan.counts.sum())
        entry: dict[str, Any] = {"generation": generation, "trained": trained, "labeled": labeled, "pool": pool}
        entry |= example_figures(examples)
        if context.has("test"):
            figures = evaluate_ensemble(context, self.members(generation), self.ensemble(generation))
            entry["test"] = figures["ensemble"]
        if self.diagnose is not None:
            entry["gold"] = dict(self.diagnose(generation))
        self.history.append(entry)
        context.reporter.info(generation_line(entry))
