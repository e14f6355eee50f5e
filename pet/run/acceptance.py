"""Whether the generations of a run are used, by evidence from outside their members."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.ensemble.calibration import best_scaled
from pet.ensemble.pseudo_labels import most_probable
from pet.ensemble.stacking import FEWEST_TEXTS
from pet.ipet.acceptance import TRUST, Evidence, compare, decide, drift
from pet.ipet.plan import Plan
from pet.ipet.ranked import SHRINKAGE, shrunk_shares
from pet.members.kinds import KINDS
from pet.numerics import log_sigmoid, log_softmax, mean_known
from pet.run.context import RunContext
from pet.run.held_out import learns_weights
from pet.run.second_view import SecondView
from pet.run.stages import Member, member_scores
from pet.store.schema import Check, flag, list_of, number, record, text

Array = NDArray[Any]
FILE, VIEW_FILE = "acceptance.json", "second-view.json"
LABELED = "log-likelihood of labeled texts that members left out"
CLASSIFIER = "agreement with a classifier on embeddings"
UNTRAINED = "the generation before is untrained"


def acceptance_note() -> Check:
    """Return the schema of what a stage ``gN/acceptance`` notes."""
    evidence = record({"name": text(200), "before": number(), "after": number(), "change": number()})
    return record({"accepted": flag(), "reason": text(2000), "evidence": list_of(evidence), "drift": number()})


@dataclass
class Acceptance:
    """Compares each generation with the one before.

    Attributes
    ----------
    context, plan, view : the run, its schedule, and the second view of its pool
    """

    context: RunContext
    plan: Plan
    view: SecondView

    def cannot_judge(self, before: Sequence[Member]) -> str:
        """Say why nothing outside the members could judge a generation after this one; empty if something can.

        Labeled texts that members left out are not enough. Each member of the new generation learns from labels of
        several others, so a single one predicts these texts better even where the merged scores get worse.
        """
        if self._untrained(before):
            return ""
        if self.context.task.multi_label:  # no classifier on embeddings is asked, so these texts are all there is
            return "" if self._judges(before) else self._no_texts_left_out()
        agreement = self._kappa(before)
        if agreement >= TRUST:
            return ""
        return (
            f"nothing outside the members could judge the next one: a classifier on embeddings agrees too little with "
            f"them (kappa {agreement:.2f}, {TRUST:.2f} is needed); --set accept=always uses every generation"
        )

    def _no_texts_left_out(self) -> str:
        """Say that only labeled texts that members leave out could judge, and how they could do that."""
        texts = len(self.context.texts("train")) if self.context.has("train") else 0
        cures = [] if texts >= FEWEST_TEXTS else [f"give at least {FEWEST_TEXTS} labeled texts"]
        cures += [] if self.context.recipe.merging.merge == "learned" else ["use --set merge=learned"]
        cure = ", or ".join(filter(None, (" and ".join(cures), "use --set accept=always")))
        return f"only labeled texts that members leave out could judge the next one; {cure}"

    def decide(self, before: Sequence[Member], after: Sequence[Member]) -> dict[str, Any]:
        """Decide whether a generation is used; return ``accepted``, ``reason``, ``evidence`` and ``drift``.

        Parameters
        ----------
        before, after : members of the generation before and of the new one, whose soft labels are there
        """
        directory, generation = self.context.directory, after[0].generation

        def build(folder: Path) -> dict[str, Any]:
            evidence = [] if self._untrained(before) else self._evidence(before, after)
            counts = [self._counts(members) for members in (before, after)]
            shares = [count / count.sum() for count in counts]
            expected = self.plan.ratio
            if expected is None:
                expected = shrunk_shares(self.plan.counts, shares[0], SHRINKAGE)
            moved = drift(shares[0], shares[1], expected)
            decision = asdict(decide(evidence, moved, UNTRAINED if self._untrained(before) else ""))
            about = decision | {"evidence": [asdict(item) for item in evidence], "drift": moved}
            (folder / FILE).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
            return about

        name = f"g{generation}/acceptance"
        stages = [f"g{members[0].generation}/labels" for members in (before, after)]
        inputs = {"config": self.context.config_hash, "labels": [directory.fingerprint(stage) for stage in stages]}
        directory.stage(name, inputs, build, files=[FILE])
        return directory.info(name, acceptance_note())

    def _untrained(self, members: Sequence[Member]) -> bool:
        return not self.plan.labeled and members[0].generation == 0

    def _kappa(self, members: Sequence[Member]) -> float:
        """Return how well a classifier on embeddings predicts the labels of a generation out of fold."""

        def build(folder: Path) -> dict[str, Any]:
            found = {"kappa": self.view.opinion(self._labels(members)).kappa}
            (folder / VIEW_FILE).write_text(json.dumps(found) + "\n", encoding="utf-8")
            return found

        directory, generation = self.context.directory, members[0].generation
        labels = directory.fingerprint(f"g{generation}/labels")
        name = f"g{generation}/second-view"
        directory.stage(name, {"config": self.context.config_hash, "labels": labels}, build, files=[VIEW_FILE])
        return float(directory.info(name, record({"kappa": number(-1, 1)}))["kappa"])

    def _labels(self, members: Sequence[Member]) -> Array:
        """Return the labels of the pool that these members predict."""
        path = self.context.directory.path / f"g{members[0].generation}" / "labels.parquet"
        return most_probable(path, self.context.task.labels)

    def _counts(self, members: Sequence[Member]) -> Array:
        return np.bincount(self._labels(members), minlength=len(self.context.task.labels))

    def _evidence(self, before: Sequence[Member], after: Sequence[Member]) -> list[Evidence]:
        """Compare two generations."""
        found = []
        if self._judges(before):
            found.append(compare(LABELED, self._left_out(before), self._left_out(after)))
        if not self.context.task.multi_label and self._kappa(before) >= TRUST:
            old, new = self._labels(before), self._labels(after)
            referee = self.view.referee(old, new)
            found.append(compare(CLASSIFIER, (old == referee).astype(float), (new == referee).astype(float)))
        return [item for item in found if item is not None]

    def _judges(self, members: Sequence[Member]) -> list[Member]:
        """Return the members that left out labeled texts."""
        return [m for m in members if learns_weights(self.context) and KINDS[m.spec.kind].evidence == "fold"]

    def _left_out(self, members: Sequence[Member]) -> Array:
        """Return the log-probability of each labeled text's label, by the members that did not learn from the text.

        A generation that is only less sure of its mistakes is no better, so each has the temperature that fits it best.
        """
        gold = self.context.texts("train").labels
        scores = np.stack(member_scores(self.context, self._judges(members), "train"))

        def likelihoods(factor: float) -> Array:
            if gold.ndim == 2:  # of all decisions about labels
                each = log_sigmoid(factor * np.where(gold > 0, scores, -scores)).mean(axis=2)
            else:
                each = log_softmax(factor * scores)[:, np.arange(len(gold)), gold]
            return mean_known(each)

        return best_scaled(likelihoods)
