"""Baselines that take seconds, and what they say about the result of a run.

Logistic regression on embeddings or on words is what most people would try first. Every run with labeled examples and
test texts is compared with both, on the same texts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.ensemble.combine import Ensemble
from pet.members import head
from pet.members.kinds import NAMED, QUICK
from pet.run.class_ratio import shifted, target_ratio
from pet.run.context import RunContext
from pet.run.differences import MOST_FREQUENT, baseline_labels, differences, predicted_labels, said
from pet.run.execution.executor import InProcess
from pet.run.execution.work import MemberWork
from pet.run.merging import evaluate_ensemble
from pet.run.rare_labels import rare_labels
from pet.run.stages import Member, member_scores

Array = NDArray[Any]
LEVEL = 0.05  # of the sign test
# What to do if another method is better.
_CURES = {
    "zero-shot": "training on so few texts takes away more than it adds: label more texts, or use --method zero-shot",
    "pet": "use --method pet",
}
_OTHERS_ARE_WEAK = "look at each pattern with `pet check`, and leave weak ones out with --patterns"
_ALREADY_A_MEMBER = {
    "supervised": f"it is also a member, so the others are weak: use --method supervised, or {_OTHERS_ARE_WEAK}"
}


def compare(context: RunContext, results: Mapping[str, Any]) -> dict[str, Any]:
    """Train the quick baselines in this process, and compare the results of the run with them.

    Parameters
    ----------
    context : the run
    results : figures of the run

    Returns
    -------
    dict
        ``baselines``: name -> figures as for a method; ``advice``: sentences about what to do, possibly none. These
        require labeled examples. ``differences``: see `pet.run.differences.differences`. Empty without test texts.
    """
    if not context.has("test"):
        return {}
    predicted, others = predicted_labels(context, results), baseline_labels(context, results)
    if not context.has("train"):
        return {"differences": differences(context, predicted, others)}
    own = {spec.kind: Member(spec) for spec in context.specs if spec.kind in QUICK and not spec.options}
    members = {kind: own.get(kind) or Member(NAMED[kind](""), prefix=f"baselines/{kind}/") for kind in QUICK}
    InProcess().make(context, [MemberWork(member, parts=("test",)) for member in members.values() if member.prefix])
    context.shared.models.forget()
    gold = context.texts("test").labels
    baselines, labels, target = {}, {}, target_ratio(context, list(members.values()))
    for kind, member in members.items():
        ensemble = Ensemble.of([member.name], labels=len(context.task.labels))
        ensemble = replace(ensemble, independent=context.task.multi_label)
        if target is not None:
            ensemble = shifted(context, ensemble, target)
        baselines[kind] = {"ensemble": evaluate_ensemble(context, [member], ensemble)["ensemble"]}
        labels[kind] = said(ensemble.combine(member_scores(context, [member], "test")))
    rivals = labels | {name: found for name, found in others.items() if name in {*_CURES, *_ALREADY_A_MEMBER}}
    in_run = {*own, *("supervised" for spec in context.specs if spec.kind == head.KIND)}
    trains = context.settings.trains_members
    advice = _about_baselines(rivals, predicted, gold, in_run, trains) + _about_student(context, predicted, gold)
    setting = "balanced_batches=true" if context.task.multi_label else "class_weight=balanced"
    result = results.get("student") or results["ensemble"]
    advice += rare_labels(context.data.report["train_per_label"], result, setting if trains else None)
    figures = {"baselines": baselines, "advice": advice}
    others = {MOST_FREQUENT: others[MOST_FREQUENT], **labels, **others}
    return {**figures, "differences": differences(context, predicted, others)}


def _about_baselines(
    baselines: Mapping[str, Array], predicted: Mapping[str, Array], gold: Array, in_run: Collection[str], trains: bool
) -> list[str]:
    """Return a sentence on the best baseline if it is better than the first of `predicted`.

    `in_run` are the baselines that are also members of the ensemble. `trains` says whether the method trains members;
    the others refuse these.
    """
    result = next(iter(predicted))
    best = max(baselines, key=lambda name: int(_right(baselines[name], gold).sum()))
    if not is_better(_right(baselines[best], gold), _right(predicted[result], gold)):
        return []
    member = f"--member {'head' if best == 'supervised' else best}"
    added = f"add it to the ensemble: {member}" if trains else f"use it in an ensemble: --method pet {member}"
    cure = _CURES.get(best, added)
    if best in in_run:
        cure = _ALREADY_A_MEMBER.get(best, _OTHERS_ARE_WEAK)
    return [f"{_compared(best, baselines[best], result, predicted[result], gold)}; {cure}"]


def _about_student(context: RunContext, predicted: Mapping[str, Array], gold: Array) -> list[str]:
    """Return a sentence if the student is worse than its ensemble."""
    if len(predicted) < 2 or not is_better(_right(predicted["ensemble"], gold), _right(predicted["student"], gold)):
        return []
    found = _compared("the ensemble", predicted["ensemble"], "student", predicted["student"], gold)
    return [f"{found}; train the student longer: --set student_steps={2 * context.recipe.student.steps}"]


def _compared(name: str, better: Array, result: str, worse: Array, gold: Array) -> str:
    shares = [float(_right(labels, gold).mean()) for labels in (better, worse)]
    figure = "accuracy" if gold.ndim == 1 else "all labels right:"
    return (
        f"{name} is better than the {result} ({figure} {shares[0]:.3f} and {shares[1]:.3f} on {len(gold)} test texts)"
    )


def _right(said: Array, gold: Array) -> Array:
    """Return which texts have the right label, or if they may have several, exactly the right ones."""
    return np.asarray(said == gold if gold.ndim == 1 else (said == (gold > 0)).all(axis=1))


def is_better(ours: Array, theirs: Array) -> bool:
    """Return True if one classifier is right more often than another, beyond chance.

    An exact two-sided sign test on the texts that only one of them gets right (McNemar 1947, Psychometrika 12).

    Parameters
    ----------
    ours, theirs : bool arrays of shape (rows,): which texts each gets right

    Examples
    --------
    >>> import numpy as np
    >>> right = np.ones(10, dtype=bool)
    >>> is_better(right, ~right), is_better(right, right)
    (True, False)
    """
    wins, losses = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    total = wins + losses
    tail = ways = 1  # in which none of the texts is a loss, then one, two, ...
    for count in range(losses):
        ways = ways * (total - count) // (count + 1)
        tail += ways
    return wins > losses and 2 * tail / 2**total < LEVEL  # whole numbers: too large for floats until divided
