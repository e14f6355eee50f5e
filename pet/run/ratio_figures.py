"""What a run reports about the class ratio: what was given, what was predicted, and a warning if both disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.ensemble.class_ratio import AUTO, ClassRatio, GivenRatio, shares_text
from pet.ensemble.combine import Ensemble
from pet.numerics import sigmoid
from pet.run.calibration import some_scores
from pet.run.class_ratio import drawn_at_random, estimated_ratio, target_ratio
from pet.run.context import RunContext
from pet.run.held_out import has_several_labels
from pet.run.label_shares import estimated_label_shares
from pet.run.merging import kept_ensemble
from pet.run.stages import Member, members_of, trained_members
from pet.terminal import clean

Array = NDArray[Any]
_SUSPICIOUS = 0.1  # total variation between predicted and labeled shares from which the ratio is estimated
_SURE = 1.3  # an estimate must differ by this many times the half of its interval: 99%
_WORTH = 0.02  # share of labels that a correction must change to be worth a warning
_LISTED = 5  # labels in a warning


def ratio_figures(context: RunContext, generation: int, given: GivenRatio | None) -> dict[str, Any]:
    """Return figures about the class ratio of the pool, and warn if the labeled texts are balanced and the pool is not.

    Parameters
    ----------
    context : a run that labeled its pool
    generation : the generation whose labels the student was trained on
    given : the ratio that was read from a file

    Returns
    -------
    dict with ``prior``, the setting, and mappings of label to share: ``predicted`` (labels of the pool), ``labeled``,
    ``target`` (what the scores were corrected to), and, with labeled texts, ``estimated``: the predictions corrected by
    how often members are wrong about labeled texts that they left out, with the 95% interval ``low`` and ``high``. For
    reviewed texts that were given as a file, ``low`` and ``high`` are their interval. If there is a warning,
    ``changes`` is the share of labels that the estimated ratio would change. ``source`` and ``rows`` describe a file.
    """
    members = members_of(context, generation)
    if context.task.multi_label:
        return _set_figures(context, members)
    ensemble, labels = kept_ensemble(context, members), context.task.labels
    merged = ensemble.merge(some_scores(context, members))
    predicted = np.bincount(merged.argmax(axis=1), minlength=len(labels)) / len(merged)
    shares = {"predicted": predicted}
    figures: dict[str, Any] = {"prior": context.recipe.merging.prior}
    if context.has("train"):
        counts = np.bincount(context.texts("train").labels, minlength=len(labels))
        shares["labeled"] = counts / counts.sum()
    target = target_ratio(context, members)
    if target is not None:
        shares["target"] = target
    if given is not None:
        figures |= {"source": given.source, "rows": given.rows}
        if given.interval is not None:
            shares |= {"low": given.interval.low, "high": given.interval.high}
    if _estimates(context) and "low" not in shares:
        ratio = estimated_ratio(context)
        shares |= _named(ratio)
        if _is_suspicious(context, members, shares):
            figures |= _warn(context, ensemble, merged, shares["labeled"], ratio)
    return figures | _by_label(context, shares)


def _by_label(context: RunContext, shares: Mapping[str, Array]) -> dict[str, dict[str, float]]:
    """Return the shares as mappings of label to share."""
    return {
        name: {label: float(value) for label, value in zip(context.task.labels, values, strict=True)}
        for name, values in shares.items()
    }


def _set_figures(context: RunContext, members: Sequence[Member]) -> dict[str, Any]:
    """Return the figures if texts may have several labels: the share of the texts that have each of them."""
    ensemble = kept_ensemble(context, members)
    merged = ensemble.merge(some_scores(context, members))
    shares = {"predicted": (sigmoid(merged) >= ensemble.threshold).mean(axis=0)}
    if context.has("train"):
        shares["labeled"] = context.texts("train").labels.mean(axis=0)
    target = target_ratio(context, members)
    if target is not None:
        shares["target"] = target
    if _estimates(context):
        shares |= _named(estimated_label_shares(context, trained_members(context)))
    return {"prior": context.recipe.merging.prior} | _by_label(context, shares)


def _estimates(context: RunContext) -> bool:
    """Return True if labeled texts say how often the members of the run are wrong."""
    return context.settings.trains_members and has_several_labels(context)


def _named(ratio: ClassRatio) -> dict[str, Array]:
    return {"estimated": ratio.shares, "low": ratio.low, "high": ratio.high}


def _is_suspicious(context: RunContext, members: Sequence[Member], shares: Mapping[str, Array]) -> bool:
    """Return True if someone balanced the labeled texts, the labels of the pool are not, and no ratio was given."""
    if context.recipe.merging.prior != AUTO or "target" in shares or "labeled" not in shares:
        return False
    if drawn_at_random(context):
        return False
    return bool(np.abs(shares["predicted"] - shares["labeled"]).sum() / 2 >= _SUSPICIOUS)


def _warn(
    context: RunContext, ensemble: Ensemble, merged: Array, labeled: Array, ratio: ClassRatio
) -> dict[str, float]:
    """Warn if the estimated ratio is certainly another one than that of the labeled texts."""
    labels = context.task.labels
    half = np.where(ratio.shares > labeled, ratio.shares - ratio.low, ratio.high - ratio.shares)
    differ = np.flatnonzero(np.abs(ratio.shares - labeled) > _SURE * half)
    plain = merged - ensemble.bias
    corrected = plain + Ensemble.of(["merged"], labels=len(labels)).corrected([plain], ratio.shares).bias
    changes = float((corrected.argmax(axis=1) != merged.argmax(axis=1)).mean())
    if not len(differ) or changes < _WORTH:
        return {}
    order = differ[np.argsort(-np.abs(ratio.shares - labeled)[differ], kind="stable")][:_LISTED]
    listed = ", ".join(f"{clean(labels[i])} {100 * ratio.low[i]:.0f} to {100 * ratio.high[i]:.0f}%" for i in order)
    # With two decimals, five shares may be too far from adding up to 1 to be given.
    example = shares_text(np.round(ratio.shares, 3), labels) if len(labels) <= _LISTED else "FILE"
    message = (
        f"the labeled texts are balanced, but the unlabeled texts probably are not: {listed}. The class ratio would "
        f"change about {100 * changes:.0f}% of their labels. If you know it, give it, as --set prior={example}; "
        "--set prior=estimated uses an estimate"
    )
    context.reporter.warn(message)
    context.data.report["messages"].append(message)
    return {"changes": changes}
