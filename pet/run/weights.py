"""Weights of the members of a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.ensemble.combine import Ensemble
from pet.ensemble.scale import Scale
from pet.ensemble.stacking import PRIORS, Stacked, stack
from pet.evaluate_sets import HALF, matching_threshold, ranking_precision, shared_threshold
from pet.members import pattern, untrained
from pet.members.kinds import KINDS, make_scorer, open_scorer
from pet.members.spec import MemberSpec, pattern_spec
from pet.numerics import sigmoid
from pet.run.calibration import calibrated, estimated, some_scores
from pet.run.class_ratio import corrected, relative_ratio, target_ratio
from pet.run.context import RunContext
from pet.run.halves import estimate_from_halves
from pet.run.held_out import learns_weights
from pet.run.merging import kept_ensemble
from pet.run.stages import Member, member_scores, members_of, no_labels
from pet.store.schema import Check, list_of, number, record

Array = NDArray[Any]


def pattern_accuracies(context: RunContext) -> list[float]:
    """Accuracy of each pattern on the labeled examples before training; see `_figure`."""

    def build(folder: Path) -> dict[str, Any]:
        train = context.texts("train")
        accuracies = []
        for position in range(len(context.task.patterns)):
            scorer = make_scorer(pattern_spec(untrained.KIND, position, 0), context.shared)
            scores = np.empty((len(train), len(context.task.labels)), dtype=np.float32)
            scorer.scores(train, scores)
            accuracies.append(_figure(scores, train.labels))
        context.shared.models.forget()  # members may be trained in other processes
        (folder / "untrained.json").write_text(json.dumps({"accuracy": accuracies}) + "\n")
        return {"accuracy": accuracies}

    context.directory.stage("g0/untrained", {"config": context.config_hash}, build, files=["untrained.json"])
    info = context.directory.info("g0/untrained", untrained_note(len(context.task.patterns)))
    accuracies: list[float] = info["accuracy"]
    return accuracies


def _figure(scores: Array, gold: Array) -> float:
    """Return the accuracy of scores; if texts may have several labels, the label ranking average precision."""
    if gold.ndim == 2:
        return ranking_precision(scores, gold > 0)
    return float((scores.argmax(axis=1) == gold).mean())


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
    ensemble = Ensemble.weighted(
        [member.name for member in members],
        known,
        labels=len(context.task.labels),
        scales=[_scale(context, member) for member in members],
        rule=rule,
    )
    return replace(ensemble, independent=context.task.multi_label)


def _learned_ensemble(context: RunContext, members: Sequence[Member]) -> Ensemble:
    """Return the ensemble with weights learned from labeled texts; without these, each kind has its prior weight."""
    stacked, gold = stacked_evidence(context, members)
    ensemble = Ensemble.of(
        [member.name for member in members],
        labels=len(context.task.labels),
        weights=stacked.weights,
        scales=[_scale(context, member) for member in members],
        rule="learned",
    )
    ensemble = replace(ensemble, temperature=stacked.temperature, independent=context.task.multi_label)
    if context.task.multi_label:
        ensemble = replace(ensemble, threshold=_threshold(context, members, ensemble, stacked, gold))
        # The threshold of scores that are corrected to a class ratio says nothing about those of labeled texts.
        _tell(context, stacked, gold, ensemble.threshold if target_ratio(context, members) is None else HALF)
        return ensemble
    _tell(context, stacked, gold)
    return calibrated(context, members, ensemble, stacked.log_probabilities)


def _threshold(
    context: RunContext, members: Sequence[Member], ensemble: Ensemble, stacked: Stacked, gold: Array
) -> float:
    """Return the probability from which a label applies.

    It is learned from labeled texts that members left out, and from the unlabeled texts, which should have as many
    labels each as the labeled ones. If the scores are corrected to a class ratio, unlabeled texts should have as many
    labels as it says, and labeled ones, which have another one, say nothing.
    """
    if not context.has("train"):
        return HALF
    found, right = stacked.log_probabilities[stacked.known], gold[stacked.known]
    share = float((context.texts("train").labels > 0).mean())
    if not context.has("pool"):
        return shared_threshold(found, right, matching_threshold(sigmoid(found), share))
    scores, target = some_scores(context, members), target_ratio(context, members)
    if target is not None:
        merged = corrected(context, members, ensemble, scores, target).merge(scores)
        return matching_threshold(sigmoid(merged), float(target.mean()))
    return shared_threshold(found, right, matching_threshold(sigmoid(ensemble.merge(scores)), share))


def as_kept(stacked: Stacked, ensemble: Ensemble) -> Array:
    """Return the merged scores of labeled texts with the temperature and the bias of an ensemble, shape (n, L)."""
    return stacked.log_probabilities * (stacked.temperature / ensemble.temperature) + ensemble.bias


def stacked_evidence(context: RunContext, members: Sequence[Member]) -> tuple[Stacked, Array]:
    """Return the learned weights of members, and the labels of the texts that they were learned from.

    The texts are all labeled texts of the run, or none if the run learns no weights. Those that no member leaves out
    with its fold teach no weights, and those that no pattern leaves out have no merged scores: without a pattern, they
    would look worse than the labels of the pool.
    """
    labels = len(context.task.labels)
    gold = context.texts("train").labels if learns_weights(context) else no_labels(context)
    scores = np.full((len(members), len(gold), labels), np.nan)
    for place, member in enumerate(members):
        if len(gold) and KINDS[member.spec.kind].evidence:
            (scores[place],) = member_scores(context, [member], "train")
    folding = [KINDS[member.spec.kind].evidence == "fold" for member in members]
    if any(folding):
        scores[:, ~_scored(scores[folding])] = np.nan
    ratio = relative_ratio(context, members) if len(gold) else None
    groups = [weight_group(member.spec) for member in members]
    priors = {group: PRIORS[member.spec.kind] for group, member in zip(groups, members, strict=True)}
    stacked = stack(groups, list(scores), gold, priors, ratio)
    patterns = [member.spec.kind == pattern.KIND for member in members]
    if any(patterns):
        stacked.log_probabilities[~_scored(scores[patterns])] = np.nan
    return stacked, gold


def _scored(scores: Array) -> Array:
    """Return which texts at least one member has scored, shape (n,); `scores` have the shape (members, n, L)."""
    return np.asarray(~np.isnan(scores).any(axis=2).all(axis=0))


def weight_group(spec: MemberSpec) -> str:
    """Return the name of what has one weight: a kind of members, or a single member that does not learn.

    Members of a kind that learns are alike. Two files or two teachers need not be.
    """
    return f"{spec.kind}:{spec.name}" if KINDS[spec.kind].evidence == "given" else spec.kind


def estimate_figures(context: RunContext, generation: int) -> dict[str, Any]:
    """Return the estimated accuracy of a generation's labels under ``estimate``; empty where there is no estimate."""
    if not context.settings.trains_members:
        return {}
    members = members_of(context, generation)
    ensemble = kept_ensemble(context, members)
    found = as_kept(stacked_evidence(context, members)[0], ensemble)
    halves = estimate_from_halves(context, members, ensemble, found)
    if context.recipe.merging.merge != "learned" and halves is None:
        return {}
    estimate = estimated(context, members, ensemble, found, halves)
    return {} if estimate is None else {"estimate": asdict(estimate)}


def _tell(context: RunContext, stacked: Stacked, gold: Array, threshold: float = HALF) -> None:
    """Say how much each kind of member counts, and how good the merged labels of held-out texts are."""
    if not stacked.known.any():
        return
    merged, known = stacked.log_probabilities[stacked.known], gold[stacked.known]
    shares = ", ".join(f"{kind} {share:.2f}" for kind, share in stacked.kinds.items())
    if known.ndim == 2:
        said = sigmoid(merged) >= threshold
        outcome = f"{int((said == (known > 0)).sum())} of {known.size} decisions about a label are right"
    else:
        outcome = f"{int((merged.argmax(axis=1) == known).sum())} of {len(known)} get the right label"
    context.reporter.info(
        f"weights learned from {len(known)} labeled texts: {shares}; each text scored by members that were trained "
        f"without it, {outcome}"
    )


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
    return _figure(scores[known], context.texts("train").labels[known])


def _scale(context: RunContext, member: Member) -> Scale:
    return open_scorer(context.directory.path / member.stage, context.shared).scale
