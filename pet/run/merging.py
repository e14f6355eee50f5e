"""The stages that merge members: weights, soft labels of the pool, and figures on the test texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pet.data.lazy_column import LazyColumn
from pet.ensemble.combine import NOTED, Ensemble
from pet.ensemble.scale import Scale
from pet.ensemble.soft_labels import write_soft_labels
from pet.ensemble.stacking import PRIORS, stack
from pet.evaluate import evaluate
from pet.members import untrained
from pet.members.kinds import KINDS, make_scorer, open_scorer
from pet.members.spec import pattern_spec
from pet.numerics import softmax
from pet.run.class_ratio import corrected_alone, target_ratio
from pet.run.context import RunContext
from pet.run.held_out import learns_weights
from pet.run.stages import Member, member_scores
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
    rule = context.recipe.merging.merge
    if rule == "learned" and any(member.trains for member in members):
        return _learned_ensemble(context, members)
    if rule == "learned" or accuracies is None:
        rule = "uniform"
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


def _learned_ensemble(context: RunContext, members: Sequence[Member]) -> Ensemble:
    """Return the ensemble with weights learned from labeled texts; without these, each kind has its prior weight."""
    labels = len(context.task.labels)
    gold = context.texts("train").labels if learns_weights(context) else np.zeros(0, dtype=np.int64)
    scores = [np.full((len(gold), labels), np.nan) for _ in members]
    for place, member in enumerate(members):
        if len(gold) and KINDS[member.spec.kind].evidence:
            (scores[place],) = member_scores(context, [member], "train")
    stacked = stack([member.spec.kind for member in members], np.ones(len(members)), scores, gold, PRIORS)
    ensemble = Ensemble.of(
        [member.name for member in members],
        labels=labels,
        weights=stacked.weights,
        scales=[_scale(context, member) for member in members],
        rule="learned",
    )
    return replace(ensemble, temperature=stacked.temperature)


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


def _accuracy(context: RunContext, member: Member, accuracies: Sequence[float] | None) -> float | None:
    """Accuracy on the labeled examples that it did not learn from; None if there is no such figure."""
    if accuracies is not None and member.spec.pattern is not None:
        return accuracies[member.spec.pattern]
    if KINDS[member.spec.kind].evidence != "given" or not context.has("train"):
        return None
    (scores,) = member_scores(context, [member], "train")
    known = ~np.isnan(scores).any(axis=1)
    if not known.any():
        return None
    return float((scores[known].argmax(axis=1) == context.texts("train").labels[known]).mean())


def _fingerprint(ensemble: Ensemble) -> list[float]:
    return [*map(float, ensemble.weights), *([ensemble.temperature] if ensemble.temperature != 1 else [])]


def _scale(context: RunContext, member: Member) -> Scale:
    return open_scorer(context.directory.path / member.stage, context.shared).scale


# ---- soft labels -------------------------------------------------------------------------------


def label_pool(context: RunContext, members: Sequence[Member], ensemble: Ensemble) -> Ensemble:
    """Merge the members' scores of the pool into the table of soft labels; the ensemble with its bias."""
    name, target = labels_stage(members), target_ratio(context, members)

    def build(folder: Path) -> dict[str, Any]:
        scores = member_scores(context, members, "pool")
        corrected = ensemble if target is None else ensemble.corrected(scores, target)
        paths = [folder / "labels.parquet", folder / "labels.jsonl"]
        write_soft_labels(paths, LazyColumn(context.texts("pool").table, "id"), scores, corrected, context.task.labels)
        return corrected.to_dict()

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
    gold, labels = context.texts("test").labels, context.task.labels
    scores = member_scores(context, members, "test")
    figures = {}
    for member, own in zip(members, scores, strict=True):
        known = ~np.isnan(own).any(axis=1)
        if known.any():  # a member that abstains everywhere has no figures
            figures[member.name] = evaluate(softmax(own[known]), gold[known], labels)
    return {"members": figures, "ensemble": evaluate(ensemble.combine(scores).probabilities, gold, labels)}
