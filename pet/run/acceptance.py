"""Whether the generations of a run are used, by evidence from outside their members."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pet.ensemble.pseudo_labels import label_positions
from pet.ipet.acceptance import Evidence, compare, decide, drift
from pet.ipet.plan import Plan
from pet.ipet.ranked import SHRINKAGE, shrunk_shares
from pet.members.kinds import KINDS
from pet.numerics import log_softmax
from pet.run.context import RunContext
from pet.run.held_out import learns_weights
from pet.run.second_view import SecondView
from pet.run.stages import Member, member_scores
from pet.store.schema import Check, flag, list_of, number, record, text

Array = NDArray[Any]
FILE = "acceptance.json"
LABELED = "log-likelihood of labeled texts that members left out"
CLASSIFIER = "agreement with a classifier on embeddings"


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
    anchors : rows of the pool and their labels, if there are no labeled texts
    """

    context: RunContext
    plan: Plan
    view: SecondView
    anchors: tuple[Array, Array] | None = None

    def decide(self, before: Sequence[Member], after: Sequence[Member]) -> dict[str, Any]:
        """Decide whether a generation is used; return ``accepted``, ``reason``, ``evidence`` and ``drift``.

        Parameters
        ----------
        before, after : members of the generation before and of the new one, whose soft labels are there
        """
        directory, generation = self.context.directory, after[0].generation

        def build(folder: Path) -> dict[str, Any]:
            evidence = self._evidence(before, after)
            counts = [self._counts(members) for members in (before, after)]
            shares = [count / count.sum() for count in counts]
            moved = drift(shares[0], shares[1], shrunk_shares(self.plan.counts, shares[0], SHRINKAGE))
            decision = asdict(decide(evidence, moved))
            about = decision | {"evidence": [asdict(item) for item in evidence], "drift": moved}
            (folder / FILE).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
            return about

        name = f"g{generation}/acceptance"
        stages = [f"g{members[0].generation}/labels" for members in (before, after)]
        inputs = {"config": self.context.config_hash, "labels": [directory.fingerprint(stage) for stage in stages]}
        directory.stage(name, inputs, build, files=[FILE])
        return directory.info(name, acceptance_note())

    def _evidence(self, before: Sequence[Member], after: Sequence[Member]) -> list[Evidence]:
        """Compare two generations; nothing if the first is untrained."""
        if self.anchors is not None and before[0].generation == 0:
            return []
        old, new = self._measured(before), self._measured(after)
        found = [compare(name, old[name], new[name]) for name in new if name in old]
        return [item for item in found if item is not None]

    def _labels(self, members: Sequence[Member]) -> Array:
        """Return the labels of the pool that these members predict."""
        path = self.context.directory.path / f"g{members[0].generation}" / "labels.parquet"
        return label_positions(pq.read_table(path, columns=["label"])["label"], self.context.task.labels)

    def _counts(self, members: Sequence[Member]) -> Array:
        return np.bincount(self._labels(members), minlength=len(self.context.task.labels))

    def _measured(self, members: Sequence[Member]) -> dict[str, Array]:
        """Return the figures of a generation: name -> an array with a number for each text."""
        figures = {CLASSIFIER: (self._labels(members) == self._referee).astype(np.float64)}
        labeled = self._left_out(members)
        return figures if labeled is None else {LABELED: labeled} | figures

    @cached_property
    def _referee(self) -> Array:
        return self.view.referee(self.anchors)

    def _left_out(self, members: Sequence[Member]) -> Array | None:
        """Return the log-probability of each labeled text's label, by the members that did not learn from the text."""
        judges = [m for m in members if m.trains and KINDS[m.spec.kind].evidence == "fold"]
        if not judges or not learns_weights(self.context):
            return None
        gold = self.context.texts("train").labels
        scores = member_scores(self.context, judges, "train")
        each = np.stack([log_softmax(s)[np.arange(len(gold)), gold] for s in scores])
        known = ~np.isnan(each)
        sums = np.where(known, each, 0.0).sum(axis=0)
        return np.where(known.any(axis=0), sums / np.maximum(known.sum(axis=0), 1), np.nan)
