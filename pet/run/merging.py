"""The stages that merge members: weights, soft labels of the pool, and figures on the test texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pet.data.lazy_column import LazyColumn
from pet.ensemble.combine import NOTED, Ensemble
from pet.ensemble.scale import Scale
from pet.ensemble.soft_labels import write_soft_labels
from pet.evaluate import evaluate
from pet.members import untrained
from pet.members.kinds import KINDS, make_scorer, open_scorer
from pet.members.spec import pattern_spec
from pet.numerics import softmax
from pet.run.context import RunContext
from pet.run.stages import Array, Member, member_scores
from pet.store.manifest import MANIFEST
from pet.store.schema import Check, list_of, number, record

ENSEMBLE = "ensemble.json"
KEPT = "g0/ensemble"  # the stage of the ensemble in a run without a pool


def pattern_accuracies(context: RunContext) -> list[float]:
    """Accuracy of each pattern on the labeled examples before training."""

    def build(folder: Path) -> dict[str, Any]:
        train = context.texts("train")
        accuracies = []
        for position in range(len(context.task.patterns)):
            scorer = make_scorer(pattern_spec(untrained.KIND, position, 0), context.shared)
            scores = np.empty((len(train), len(context.task.labels)), dtype=np.float32)
            scorer.scores(train, scores)
            accuracies.append(float((scores.argmax(axis=1) == train.labels).mean()))
        context.shared.models.forget()  # members may be trained in other processes
        (folder / "untrained.json").write_text(json.dumps({"accuracy": accuracies}) + "\n")
        return {"accuracy": accuracies}

    context.directory.stage("g0/untrained", {"config": context.config_hash}, build, files=["untrained.json"])
    info = context.directory.info("g0/untrained", untrained_note(len(context.task.patterns)))
    accuracies: list[float] = info["accuracy"]
    return accuracies


def untrained_note(patterns: int) -> Check:
    """Return the schema of what the stage ``g0/untrained`` notes."""
    return record({"accuracy": list_of(number(0, 1), patterns, patterns, per="one per pattern")})


def make_ensemble(context: RunContext, members: Sequence[Member], accuracies: Sequence[float] | None) -> Ensemble:
    """Return the ensemble of these members, with weights and without a bias.

    Parameters
    ----------
    context, members : whose scores are there
    accuracies : of the patterns before training; None: uniform weights
    """
    rule = context.recipe.merging.merge if accuracies is not None else "uniform"
    known = [_accuracy(context, member, accuracies) for member in members]
    if rule == "weighted" and not any(known):
        context.reporter.warn("no pattern labels a training example correctly before training: weights are uniform")
    return Ensemble.weighted(
        [member.name for member in members],
        known,
        labels=len(context.task.labels),
        scales=[_scale(context, member) for member in members],
        rule=rule,
    )


def keep_ensemble(context: RunContext, members: Sequence[Member], ensemble: Ensemble) -> None:
    """Keep the weights of a run that has no pool to label, for texts that `pet label` sees later."""

    def build(folder: Path) -> dict[str, Any]:
        about = ensemble.to_dict()
        (folder / ENSEMBLE).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        return about

    members_made = [context.directory.fingerprint(m.stage) for m in members]
    inputs = {"config": context.config_hash, "members": members_made, "weights": [float(w) for w in ensemble.weights]}
    context.directory.stage(KEPT, inputs, build, files=[ENSEMBLE])


def _accuracy(context: RunContext, member: Member, accuracies: Sequence[float] | None) -> float | None:
    """Accuracy on the labeled examples that it did not learn from; None if there is no such figure."""
    if accuracies is not None and member.spec.pattern is not None:
        return accuracies[member.spec.pattern]
    if not KINDS[member.spec.kind].judged or not context.has("train"):
        return None
    (scores,) = member_scores(context, [member], "train")
    known = ~np.isnan(scores).any(axis=1)
    if not known.any():
        return None
    return float((scores[known].argmax(axis=1) == context.texts("train").labels[known]).mean())


def _scale(context: RunContext, member: Member) -> Scale:
    return open_scorer(context.directory.path / member.stage, context.shared).scale


# ---- soft labels -------------------------------------------------------------------------------


def label_pool(context: RunContext, members: Sequence[Member], ensemble: Ensemble) -> Ensemble:
    """Merge the members' scores of the pool into the table of soft labels; the ensemble with its bias."""
    name = labels_stage(members)

    def build(folder: Path) -> dict[str, Any]:
        scores = member_scores(context, members, "pool")
        corrected = _with_prior(context, ensemble, scores)
        paths = [folder / "labels.parquet", folder / "labels.jsonl"]
        write_soft_labels(paths, LazyColumn(context.texts("pool").table, "id"), scores, corrected, context.task.labels)
        return corrected.to_dict()

    inputs = {
        "config": context.config_hash,
        "scores": [context.directory.fingerprint(f"{m.stage}/scores") for m in members],
        "weights": [float(w) for w in ensemble.weights],
    }
    context.directory.stage(name, inputs, build, files=["labels.parquet", "labels.jsonl"])
    return kept_ensemble(context, members)


def kept_ensemble(context: RunContext, members: Sequence[Member]) -> Ensemble:
    """Return the ensemble of these members as the run has kept it, with its bias."""
    name = labels_stage(members) if context.has("pool") else KEPT
    info = context.directory.info(name, NOTED)
    return Ensemble.from_dict(info, len(context.task.labels), f"{context.directory.path / MANIFEST}: {name}")


def labels_stage(members: Sequence[Member]) -> str:
    """Return the stage of the soft labels that these members make."""
    return f"{members[0].prefix}g{members[0].generation}/labels"


def _with_prior(context: RunContext, ensemble: Ensemble, scores: Sequence[Array]) -> Ensemble:
    """Return the ensemble with the correction that the recipe asks for."""
    count, prior = len(context.task.labels), context.recipe.merging.prior
    if prior == "none":
        return ensemble
    target = np.full(count, 1 / count)
    if prior == "labeled" and context.has("train"):
        # One more of each, so that a label without an example is rare and not impossible.
        counts = np.bincount(context.texts("train").labels, minlength=count) + 1.0
        target = counts / counts.sum()
    return ensemble.corrected(scores, target)


# ---- figures -----------------------------------------------------------------------------------


def evaluate_ensemble(context: RunContext, members: Sequence[Member], ensemble: Ensemble) -> dict[str, Any]:
    """Figures of each member and of the merged ensemble on the test texts; empty without a test set."""
    if not context.has("test"):
        return {}
    gold, labels = context.texts("test").labels, context.task.labels
    scores = member_scores(context, members, "test")
    figures = {}
    for member, own in zip(members, scores, strict=True):
        known = ~np.isnan(own).any(axis=1)
        if known.any():  # a member that abstains everywhere has no figures
            figures[member.name] = evaluate(softmax(own[known]), gold[known], labels)
    return {"members": figures, "ensemble": evaluate(ensemble.combine(scores).probabilities, gold, labels)}
