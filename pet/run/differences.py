"""Paired differences between the result of a run and its baselines, on the same test texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.ensemble.combine import SoftLabels, SoftLabelSets
from pet.report.summary import result_name
from pet.run.classifiers import predictions_of
from pet.run.context import RunContext
from pet.run.merging import kept_alone, kept_ensemble
from pet.run.stages import Member, member_scores, members_of, untrained_members
from pet.statistics import paired
from pet.statistics_sets import paired_sets

Array = NDArray[Any]
MOST_FREQUENT = "most frequent label"


def predicted_labels(context: RunContext, results: Mapping[str, Any]) -> dict[str, Array]:
    """Return the test labels that the student and the ensemble predict, if the run has them, by names for people."""
    predicted = {}
    if "student" in results:
        predicted[result_name("student", context.settings.method)] = predictions_of(context, "student")
    if "ensemble" in results:
        members = members_of(context, results.get("generation", 0))
        predicted["ensemble"] = _ensemble_labels(context, members)
    return predicted


def baseline_labels(context: RunContext, results: Mapping[str, Any]) -> dict[str, Array]:
    """Return the test labels of the other methods that ran as baselines, and of the most frequent label.

    If texts may have several labels, always the most frequent one.
    """
    gold, found = context.texts("test").labels, {}
    if context.task.multi_label:
        found[MOST_FREQUENT] = np.tile(np.arange(gold.shape[1]) == gold.sum(axis=0).argmax(), (len(gold), 1))
    else:
        found[MOST_FREQUENT] = np.full(len(gold), np.bincount(gold).argmax())
    for name, figures in results.get("baselines", {}).items():
        if name == "zero-shot":
            members = untrained_members(context, prefix="baselines/zero-shot/")
            ensemble = kept_alone(context, members)
            found[name] = said(ensemble.combine(member_scores(context, members, "test")))
        elif "student" in figures:
            found[name] = predictions_of(context, f"baselines/{name}/student")
    return found


def _ensemble_labels(context: RunContext, members: list[Member]) -> Array:
    return said(kept_ensemble(context, members).combine(member_scores(context, members, "test")))


def said(soft: SoftLabels) -> Array:
    """Return the label of each text, or if it may have several, which labels it has."""
    return soft.applies if isinstance(soft, SoftLabelSets) else soft.label


def differences(context: RunContext, predicted: Mapping[str, Array], others: Mapping[str, Array]) -> dict[str, Any]:
    """Compare the first result of a run, its student or else its ensemble, with the others.

    Parameters
    ----------
    context : the run
    predicted : from `predicted_labels`
    others : name -> predicted test labels

    Returns
    -------
    dict with ``result`` (which classifier is compared), and ``others``: name -> `pet.statistics.paired` or
    `pet.statistics_sets.paired_sets`, whose differences are positive if the result is better
    """
    result = next(iter(predicted))
    rest = {**others, **{name: labels for name, labels in predicted.items() if name != result}}
    gold, labels = context.texts("test").labels, len(context.task.labels)
    if context.task.multi_label:
        compared = {name: paired_sets(gold > 0, predicted[result], theirs) for name, theirs in rest.items()}
    else:
        compared = {name: paired(gold, predicted[result], theirs, labels) for name, theirs in rest.items()}
    return {"result": result, "others": compared}
