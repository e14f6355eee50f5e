"""The choice of pseudo-labeled texts: members of a generation label the training sets of the next one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pet.ensemble.class_ratio import AUTO
from pet.ensemble.combine import Ensemble
from pet.ensemble.pseudo_labels import write_pseudo_labels
from pet.ipet.label_sets import draw_sets
from pet.ipet.plan import Plan
from pet.ipet.ranked import SHRINKAGE, draw_ranked, rank_within, shrunk_shares
from pet.ipet.selection import Candidates, Chosen, apportion, choose_voters, draw_confident, take_most_probable
from pet.run.class_ratio import target_ratio
from pet.run.context import RunContext
from pet.run.pattern_labels import eligible_rows
from pet.run.second_view import SecondView
from pet.run.stages import Member, member_scores
from pet.seeds import derive_seed
from pet.store.schema import Check, list_of, mapping_of, maybe, number, record, whole

Array = NDArray[Any]


def _examples_note(labels: int) -> Check:
    """Return the schema of what a stage ``gN/examples`` notes."""
    counts = list_of(whole(0, 10**15), labels, labels, per="one per label")
    member = record(
        {"available": counts, "chosen": counts, "confidence": maybe(number(0, 1))}, {"texts": whole(0, 10**15)}
    )
    return record({"wanted": counts, "members": mapping_of(member)})


@dataclass
class Chooser:
    """Chooses the pseudo-labeled texts of each generation.

    Attributes
    ----------
    context : the run
    plan : sizes of the training sets
    view : second view of the pool, for the selection ``ranked``
    """

    context: RunContext
    plan: Plan
    view: SecondView

    def choose(self, members: Sequence[Member], before: Sequence[Member], ensemble: Ensemble) -> dict[str, Any]:
        """Choose and write the pseudo-labeled texts of each member; return figures about them.

        Parameters
        ----------
        members : members of the generation that will be trained
        before : members of the generation before, whose scores are there
        ensemble : their ensemble
        """
        context, generation = self.context, members[0].generation
        wanted = self._wanted(generation, before, ensemble)
        learners = [member for member in members if member.trains]

        def build(folder: Path) -> dict[str, Any]:
            ids = pa.array(context.texts("pool").ids, pa.string())
            figures = {}
            with context.reporter.task(f"choose texts for generation {generation}", len(learners), "member") as bar:
                for member in learners:
                    names = self._voters(member, before)
                    candidates = self._candidates(before, ensemble.only(names))
                    chosen = self._chosen(member, candidates, wanted)
                    figures[member.name] = self._keep(folder, member, candidates, chosen, ids) | {"voters": names}
                    bar.update()
            return {"wanted": wanted.tolist(), "members": figures}

        inputs = {
            "config": context.config_hash,
            "labels": context.directory.fingerprint(f"g{generation - 1}/labels"),
            "scores": [context.directory.fingerprint(f"{m.stage}/scores") for m in before],
        }
        context.directory.stage(f"g{generation}/examples", inputs, build)
        return context.directory.info(f"g{generation}/examples", _examples_note(len(wanted)))

    @cached_property
    def _eligible(self) -> Array:
        return eligible_rows(self.context)

    def _first_without_labels(self, generation: int) -> bool:
        return generation == 1 and not self.plan.labeled

    def _wanted(self, generation: int, before: Sequence[Member], ensemble: Ensemble) -> Array:
        """Return the number of texts per label that each member gets."""
        wanted, settings = self.plan.wanted(generation), self.context.recipe.ipet
        if self.context.task.multi_label:
            return wanted
        given = self.plan.ratio is not None or settings.ratio != "auto"
        if settings.selection != "ranked" or given or self._first_without_labels(generation):
            return wanted
        label, _ = Candidates.of(ensemble, member_scores(self.context, before, "pool")).predictions()
        counts = np.bincount(label[self._eligible], minlength=len(wanted))
        shares = shrunk_shares(self.plan.counts, counts / max(1, counts.sum()), SHRINKAGE)
        return apportion(int(wanted.sum()), shares)

    def _candidates(self, before: Sequence[Member], ensemble: Ensemble) -> Candidates:
        """Return the merged predictions of some members of the previous generation for the pool."""
        by_name = {member.name: member for member in before}
        scores = member_scores(self.context, [by_name[name] for name in ensemble.names], "pool")
        recipe, target = self.context.recipe, None
        if ensemble.independent:
            target = target_ratio(self.context, before)
            return Candidates(ensemble if target is None else ensemble.corrected(scores, target), scores)
        if recipe.ipet.calibrate:
            target = self.plan.target()
        elif recipe.merging.prior != AUTO:  # without it, the best texts of each label are chosen whatever the bias
            target = target_ratio(self.context, before)
        return Candidates.of(ensemble, scores, target)

    def _voters(self, member: Member, before: Sequence[Member]) -> list[str]:
        """Draw the members that label for a member. Untrained members with the same pattern are excluded."""
        others = [m.name for m in before if m.name != member.name]
        if not before[0].generation and not self.plan.labeled and member.spec.pattern is not None:
            others = [m.name for m in before if m.spec.pattern != member.spec.pattern]
        return choose_voters(others, self.context.recipe.ipet.vote_share, self._generator("voters", member))

    def _generator(self, what: str, member: Member) -> np.random.Generator:
        seed = derive_seed(self.context.settings.seed, what, member.generation, *member.spec.seed_parts)
        return np.random.default_rng(seed)

    def _chosen(self, member: Member, candidates: Candidates, wanted: Array) -> Chosen:
        """Choose the texts of one member."""
        settings = self.context.recipe.ipet
        if candidates.ensemble.independent:
            return self._chosen_sets(member, candidates, wanted)
        if self._first_without_labels(member.generation) or settings.selection == "top":
            return take_most_probable(candidates, wanted, self._eligible, settings.confidence_floor)
        label, confidence = candidates.predictions()
        eligible = self._eligible & (confidence >= settings.confidence_floor)
        generator = self._generator("draw", member)
        if settings.selection == "draw":
            return draw_confident(label, confidence, wanted, eligible, generator)
        return draw_ranked(label, self._rank(label, confidence), wanted, eligible, generator)

    def _chosen_sets(self, member: Member, candidates: Candidates, wanted: Array) -> Chosen:
        """Choose the texts of one member, with all their labels."""
        least, floor = candidates.ensemble.threshold, self.context.recipe.ipet.confidence_floor
        if self._first_without_labels(member.generation):
            chosen = take_most_probable(candidates, wanted, self._eligible, floor)
            sets = candidates.probabilities(chosen.rows) >= least
            sets[np.arange(len(sets)), chosen.labels] = True
            return replace(chosen, labels=sets)
        probabilities = np.concatenate([part for _, part in candidates.chunks()])
        sure = (np.maximum(probabilities, 1 - probabilities) >= floor).all(axis=1)
        empty = 0
        if self.context.has("train"):
            gold = self.context.texts("train").labels
            empty = round(int(wanted.sum()) * float((~gold.any(axis=1)).sum()) / max(1.0, float(gold.sum())))
        generator = self._generator("draw", member)
        return draw_sets(probabilities, least, wanted, empty, self._eligible & sure, generator)

    def _rank(self, label: Array, confidence: Array) -> Array:
        """Rank texts within their labels. The second view counts as much as it agrees with the members."""
        opinion = self.view.opinion(label)
        of_label = opinion.probabilities[np.arange(len(label)), label]
        weight = max(0.0, opinion.kappa)
        return rank_within(label, [confidence, of_label, opinion.cut], [1.0, weight, weight])

    def _keep(
        self, folder: Path, member: Member, candidates: Candidates, chosen: Chosen, ids: pa.Array
    ) -> dict[str, Any]:
        """Write the texts of one member; return figures about them."""
        probabilities = candidates.probabilities(chosen.rows)
        path = folder / f"{member.name}.parquet"
        write_pseudo_labels(path, chosen.rows, chosen.labels, ids, probabilities, self.context.task.labels)
        several = chosen.labels.ndim == 2
        main = probabilities.argmax(axis=1) if several else chosen.labels
        confidence = probabilities[np.arange(len(chosen.rows)), main]
        counts = chosen.labels.sum(axis=0) if several else np.bincount(main, minlength=probabilities.shape[1])
        return {
            "available": chosen.available.tolist(),
            "chosen": counts.tolist(),
            "texts": len(chosen.rows),
            "confidence": float(confidence.mean()) if len(confidence) else None,
        }
