"""The generations of iPET: members that choose training texts for each other, round after round.

A generation is trained, scores the pool, and its members label new training sets for the members of the next
one. Each of these steps is a stage of the run directory, so that all of it resumes, also in the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pet.data.checks import text_key, text_keys
from pet.ensemble.pseudo_labels import write_pseudo_labels
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
from pet.report.generations import example_figures, generation_line, pool_figures, shortages
from pet.run.context import RunContext
from pet.run.execution.executor import MemberWork, make_members
from pet.run.stages import (
    Member,
    ensemble_members,
    ensemble_weights,
    label_pool,
    measure_ensemble,
    measure_untrained,
    member_scores,
)
from pet.seeds import derive_seed
from pet.store.files import hash_inputs

Array = NDArray[Any]
# Gets the number of a generation, and gives the accuracy of what was labeled in it; see pet.run.pool_gold.
Diagnose = Callable[[int], Mapping[str, Any]]


@dataclass
class Generations:
    """The loop over generations, and what is known of those that are done.

    Attributes
    ----------
    context : the run
    plan : sizes
    diagnose : figures for people alone; nothing here reads them
    history : for each generation what `run` returns of it
    agreement, largest_share : of each generation, see `pet.ipet.selection.best_generation`
    """

    context: RunContext
    plan: Plan
    diagnose: Diagnose | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    agreement: list[float] = field(default_factory=list)
    largest_share: list[float] = field(default_factory=list)
    _weights: dict[int, Array] = field(default_factory=dict)

    def run(self) -> int:
        """Train and label generation after generation.

        Returns
        -------
        int: the generation that the student learns from
        """
        recipe = self.context.recipe
        for generation in range(self.plan.last + 1):
            self._generation(generation)
            trained = self.agreement[self._first :]
            if recipe.ipet.stop_early and len(trained) > 1 and trained[-1] <= trained[-2]:
                if generation < self.plan.last:
                    self.context.reporter.info(
                        f"generation {generation} agrees no more than the one before: the last one"
                    )
                break
        last = len(self.history) - 1
        if not recipe.ipet.keep_best:
            return last
        best = self._first + best_generation(self.agreement[self._first :], self.largest_share[self._first :])
        if best != last:
            self.context.reporter.info(f"the members of generation {best} agree most: the student learns from them")
        return best

    @property
    def _first(self) -> int:
        """The first generation that was trained."""
        return 0 if self.plan.labeled else 1

    @cached_property
    def accuracies(self) -> list[float] | None:
        """Accuracy of each pattern before training, which gives the members their weights."""
        return measure_untrained(self.context) if self.plan.labeled else None

    def members(self, generation: int) -> list[Member]:
        """The members of a generation; the untrained model has no repetitions."""
        members = ensemble_members(self.context, generation)
        return members if generation >= self._first else [m for m in members if m.repetition == 0]

    def weights(self, generation: int) -> Array:
        """Their weights, in the same order; the same in every generation with so many members."""
        members = self.members(generation)
        if len(members) not in self._weights:
            self._weights[len(members)] = ensemble_weights(self.context, self.accuracies, members)
        return self._weights[len(members)]

    def _generation(self, generation: int) -> None:
        context, members = self.context, self.members(generation)
        examples = self._choose(generation) if generation else {}
        if generation < self._first:
            make_members(context, [MemberWork(member, trained=False) for member in members])
        else:
            make_members(context, [MemberWork(m, start=self._start(m), upstream=self._upstream(m)) for m in members])
        label_pool(context, members, self.weights(generation))
        self._note(generation, examples)

    def _start(self, member: Member) -> str | None:
        """The stage of the member that training starts from; None: the pretrained model."""
        before = Member(member.generation - 1, member.pattern, member.repetition)
        if self.context.recipe.ipet.restart or before.generation < self._first:
            return None
        return before.stage

    def _upstream(self, member: Member) -> str:
        directory, start = self.context.directory, self._start(member)
        if not member.generation:
            return ""
        stages = [f"g{member.generation}/examples"]
        stages += [] if start is None else [start]
        return hash_inputs({stage: directory.fingerprint(stage) for stage in stages})

    # ---- choosing ----------------------------------------------------------------------------

    @cached_property
    def _eligible(self) -> Array:
        """Which rows of the pool may become examples: with text, and the first ones with that text."""
        pool, fields = self.context.data.pool, self.context.task.fields
        assert pool is not None
        keys = text_keys(pool, fields)
        eligible = np.zeros(len(keys), dtype=bool)
        eligible[np.unique(keys, return_index=True)[1]] = True
        return np.asarray(eligible & (keys != np.uint64(text_key([""] * len(fields)))))

    def _choose(self, generation: int) -> dict[str, Any]:
        """Files with the pseudo-labeled texts of each member, and what is told about them."""
        context, before = self.context, self.members(generation - 1)
        wanted = self.plan.wanted(generation)
        pool = context.data.pool
        assert pool is not None

        def build(folder: Path) -> dict[str, Any]:
            scores = member_scores(context, before, "pool")
            weights = dict(zip(scores, self.weights(generation - 1), strict=True))
            ids = pa.array(pool["id"], pa.string())
            told, members = {}, self.members(generation)
            with context.reporter.task(f"choose texts for generation {generation}", len(members), "member") as bar:
                for member in members:
                    names = self._voters(member, before)
                    voters = Candidates.merged(
                        [scores[n] for n in names], np.asarray([weights[n] for n in names]), self._target()
                    )
                    told[member.name] = self._keep(folder, member, voters, wanted, ids) | {"voters": names}
                    bar.update()
            return {"wanted": wanted.tolist(), "members": told}

        inputs = {
            "config": context.config_hash,
            "labels": context.directory.fingerprint(f"g{generation - 1}/labels"),
            "scores": [context.directory.fingerprint(f"{m.stage}/scores") for m in before],
        }
        context.directory.stage(f"g{generation}/examples", inputs, build)
        return context.directory.info(f"g{generation}/examples")

    def _target(self) -> Array | None:
        return self.plan.target() if self.context.recipe.ipet.calibrate else None

    def _keep(self, folder: Path, member: Member, voters: Candidates, wanted: Array, ids: pa.Array) -> dict[str, Any]:
        """Choose the texts of a member and write them; what is told about them."""
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
        """The others that label for a member; of untrained ones, those with another pattern."""
        untrained = before[0].generation < self._first
        others = [m.name for m in before if (m.pattern != member.pattern if untrained else m.name != member.name)]
        return choose_voters(others, self.context.recipe.ipet.vote_share, self._generator("voters", member))

    def _generator(self, what: str, member: Member) -> np.random.Generator:
        seed = derive_seed(self.context.settings.seed, what, member.generation, member.pattern, member.repetition)
        return np.random.default_rng(seed)

    def _chosen(self, member: Member, voters: Candidates, wanted: Array) -> Chosen:
        recipe = self.context.recipe
        if member.generation == 1 and not self.plan.labeled:
            return take_most_probable(voters, wanted, self._eligible)
        label, confidence = voters.predictions()
        eligible = self._eligible & (confidence >= recipe.ipet.confidence_floor)
        if recipe.ipet.selection == "top":
            return take_most_probable(voters, wanted, eligible)
        return draw_confident(label, confidence, wanted, eligible, self._generator("draw", member))

    # ---- telling -----------------------------------------------------------------------------

    def _note(self, generation: int, examples: Mapping[str, Any]) -> None:
        context, labels = self.context, self.context.task.labels
        path = context.directory.path / f"g{generation}" / "labels.parquet"
        pool = pool_figures(path, path.parents[1] / f"g{generation - 1}" / path.name if generation else None, labels)
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
        if context.data.test is not None:
            entry["test"] = measure_ensemble(context, self.members(generation), self.weights(generation))["ensemble"]
        if self.diagnose is not None:
            entry["gold"] = dict(self.diagnose(generation))
        self.history.append(entry)
        context.reporter.info(generation_line(entry))
