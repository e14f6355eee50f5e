"""The stages that merge members: weights, soft labels of the pool, and figures on the test texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.data.lazy_column import LazyColumn
from pet.ensemble.combine import NOTED, Ensemble
from pet.ensemble.soft_labels import write_soft_labels
from pet.evaluate import evaluate
from pet.evaluate_sets import HALF, evaluate_sets
from pet.groups import groups_of
from pet.levels import level_metrics
from pet.numerics import sigmoid, softmax
from pet.ordered import ordered_metrics
from pet.run.class_ratio import corrected, corrected_alone, target_ratio
from pet.run.context import RunContext
from pet.run.stages import Member, member_scores
from pet.store.manifest import MANIFEST

Array = NDArray[Any]
ENSEMBLE = "ensemble.json"
KEPT = "g0/ensemble"  # the stage of the ensemble in a run without a pool


def keep_ensemble(context: RunContext, members: Sequence[Member], ensemble: Ensemble) -> Ensemble:
    """Keep the weights of members that label no pool, for `pet label`; return the ensemble with its bias."""
    name = f"{members[0].prefix}{KEPT}"

    def build(folder: Path) -> dict[str, Any]:
        about = corrected_alone(context, members, ensemble).to_dict()
        (folder / ENSEMBLE).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        return about

    members_made = [context.directory.fingerprint(m.stage) for m in members]
    inputs = {"config": context.config_hash, "members": members_made, "weights": _fingerprint(ensemble)}
    context.directory.stage(name, inputs, build, files=[ENSEMBLE])
    return _kept(context, name)


def _fingerprint(ensemble: Ensemble) -> list[float]:
    found = [*map(float, ensemble.weights), *([ensemble.temperature] if ensemble.temperature != 1 else [])]
    return [*found, ensemble.threshold] if ensemble.independent else found


# ---- soft labels -------------------------------------------------------------------------------


def label_pool(context: RunContext, members: Sequence[Member], ensemble: Ensemble) -> Ensemble:
    """Merge the members' scores of the pool into the table of soft labels; the ensemble with its bias."""
    name, target = labels_stage(members), target_ratio(context, members)

    def build(folder: Path) -> dict[str, Any]:
        scores = member_scores(context, members, "pool")
        kept = ensemble if target is None else corrected(context, members, ensemble, scores, target)
        paths = [folder / "labels.parquet", folder / "labels.jsonl"]
        write_soft_labels(paths, LazyColumn(context.texts("pool").table, "id"), scores, kept, context.task.labels)
        return kept.to_dict()

    inputs = {
        "config": context.config_hash,
        "scores": [context.directory.fingerprint(f"{m.stage}/scores") for m in members],
        "weights": _fingerprint(ensemble),
    }
    context.directory.stage(name, inputs, build, files=["labels.parquet", "labels.jsonl"])
    return kept_ensemble(context, members)


def kept_ensemble(context: RunContext, members: Sequence[Member]) -> Ensemble:
    """Return the ensemble of these members as the run has kept it, with its bias."""
    return _kept(context, labels_stage(members) if context.has("pool") else KEPT)


def kept_alone(context: RunContext, members: Sequence[Member]) -> Ensemble:
    """Return the ensemble of members that label no pool, such as those of a baseline, as the run has kept it."""
    return _kept(context, f"{members[0].prefix}{KEPT}")


def _kept(context: RunContext, name: str) -> Ensemble:
    info = context.directory.info(name, NOTED)
    return Ensemble.from_dict(info, len(context.task.labels), f"{context.directory.path / MANIFEST}: {name}")


def labels_stage(members: Sequence[Member]) -> str:
    """Return the stage of the soft labels that these members make."""
    return f"{members[0].prefix}g{members[0].generation}/labels"


# ---- figures -----------------------------------------------------------------------------------


def evaluate_ensemble(context: RunContext, members: Sequence[Member], ensemble: Ensemble) -> dict[str, Any]:
    """Figures of each member and of the merged ensemble on the test texts; empty without a test set."""
    if not context.has("test"):
        return {}
    gold = context.texts("test").labels
    scores = member_scores(context, members, "test")
    figures = {}
    for member, own in zip(members, scores, strict=True):
        known = np.asarray(~np.isnan(own).any(axis=1))
        if known.any():  # a member that abstains everywhere has no figures
            figures[member.name] = measure(context, probabilities_of(context, own[known]), gold[known], rows=known)
    merged = ensemble.combine(scores).probabilities
    return {"members": figures, "ensemble": measure(context, merged, gold, threshold=ensemble.threshold)}


def probabilities_of(context: RunContext, scores: Array) -> Array:
    """Return the probabilities that the logits of a member or a classifier stand for."""
    return sigmoid(scores) if context.task.multi_label else softmax(scores)


def measure(
    context: RunContext, probabilities: Array, gold: Array, *, threshold: float = HALF, rows: Array | None = None
) -> dict[str, Any]:
    """Return figures on the test texts.

    Parameters
    ----------
    context : the run
    probabilities, gold : of the test texts, or of some of them
    threshold : probability from which a label applies, if a text may have several
    rows : bool array, which test texts they are; default: all
    """
    task = context.task
    if task.multi_label:
        return evaluate_sets(probabilities, gold, task.labels, threshold)
    groups = groups_of(task.group, task.labels, [context.texts("test").table])
    some = groups if groups is None or rows is None else groups.take(rows)
    figures = evaluate(probabilities, gold, task.labels, some)
    if task.ordered:
        figures |= ordered_metrics(figures["confusion"])
    if task.ancestors:
        figures["levels"] = level_metrics(probabilities, gold, task.labels, task.ancestors)
    return figures
