"""The temperature of the merged labels of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.ensemble.calibration import (
    ERRORS,
    SHARED_ERRORS,
    disagreement,
    estimate_error,
    inverse_temperature,
    mean_confidence,
)
from pet.ensemble.combine import Ensemble
from pet.members import pattern
from pet.numerics import sigmoid
from pet.run.class_ratio import corrected, relative_ratio, target_ratio, text_weights
from pet.run.context import RunContext
from pet.run.halves import Halves, right_rows
from pet.run.held_out import has_several_labels
from pet.run.pattern_labels import share_pattern_labels
from pet.run.stages import Member, member_scores, trained_members
from pet.statistics import effective_size, wilson
from pet.statistics_sets import mean_micro_f1

Array = NDArray[Any]
_ROWS = 20_000  # of the pool


@dataclass(frozen=True)
class Estimate:
    """How many of the merged labels are probably right, without test texts.

    Attributes
    ----------
    accuracy, low, high : the expected accuracy, and its 95% interval; if texts may have several labels, the share of
        texts with exactly the right ones
    disagreement : how often two patterns name different labels for an unlabeled text; None without unlabeled texts or
        with a single pattern
    judged, wrong : labeled texts that members left out, and how many of them got a wrong label
    halves : the same for members that were trained on half of the labeled texts; see `pet.run.halves.Halves`
    micro_f1 : the expected micro F1 and its 95% interval, if texts may have several labels
    assumes_ratio : scores are corrected to a class ratio, and the estimate is of texts with that ratio
    """

    accuracy: float
    low: float
    high: float
    disagreement: float | None
    judged: int
    wrong: int
    halves: Halves | None = None
    micro_f1: tuple[float, float, float] | None = None
    assumes_ratio: bool = False


def estimated(
    context: RunContext, members: Sequence[Member], ensemble: Ensemble, found: Array, halves: Halves | None = None
) -> Estimate | None:
    """Estimate the accuracy of the merged labels of the pool.

    If scores are corrected to a class ratio, it is that of labels with this correction, for texts with this ratio.
    Members of later generations learned from each other's labels, so they agree on mistakes, too. What counts is the
    disagreement of the first generation, which learned from labeled texts and from those that untrained patterns label.

    Parameters
    ----------
    context : the run
    members, ensemble : whose labels they are
    found : merged scores of labeled texts by members that did not learn from them, bias included; shape (n, L), with
        NaN where no member left out the text; shape (0, L) if members left out none
    halves : what members get right that were trained on half of the labeled texts; it counts where the members of the
        run have left out no texts

    Returns
    -------
    Estimate; None if nothing says how good the labels are
    """
    if not has_several_labels(context):
        return None
    known = np.flatnonzero(~np.isnan(found).any(axis=1))
    gold = context.texts("train").labels[known]
    right = right_rows(found[known], gold, ensemble.threshold)
    wrong, judged = int((right == 0).sum()), len(right)
    assumes = relative_ratio(context, members) is not None
    first = [member for member in trained_members(context) if member.spec.kind == pattern.KIND]
    patterns = [member.spec.pattern for member in first]
    if context.task.multi_label or len(set(patterns)) < 2 or not context.has("pool"):
        if context.task.multi_label and judged:
            said = sigmoid(found[known]) >= ensemble.threshold
            micro_f1 = mean_micro_f1(gold > 0, said[None])
            return Estimate(1 - wrong / judged, *wilson(judged - wrong, judged), None, judged, wrong, halves, micro_f1)
        if halves is None:
            return None
        figures = halves.accuracy, halves.low, halves.high
        return Estimate(*figures, None, judged, wrong, halves, halves.micro_f1, assumes_ratio=assumes)
    # What each member would say alone.
    votes = [(own / ensemble.temperature + ensemble.bias).argmax(axis=1) for own in some_scores(context, first)]
    share = disagreement(votes, patterns)
    evidence = (0.0, 0.0)
    if judged:
        weights = text_weights(context, members)[known]
        size = effective_size(weights)
        evidence = (size * float(np.average(right == 0, weights=weights)), size)
    elif halves is not None:
        evidence = (halves.size * (1 - halves.accuracy), halves.size)
    ratio = SHARED_ERRORS if share_pattern_labels(context) else ERRORS
    error = estimate_error(share, len(context.task.labels), *evidence, ratio=ratio, texts=len(votes[0]))
    figures = 1 - error.median, 1 - error.high, 1 - error.low
    return Estimate(*figures, share, judged, wrong, halves, assumes_ratio=assumes)


def calibrated(context: RunContext, members: Sequence[Member], ensemble: Ensemble, left_out: Array) -> Ensemble:
    """Return the ensemble with the temperature that makes it as confident on the pool as it is probably right.

    If scores are corrected to a class ratio, that is the confidence of the corrected labels. The ensemble is returned
    without the bias.

    Parameters
    ----------
    context : the run
    members, ensemble : whose labels are calibrated, without a bias
    left_out : merged scores of labeled texts without the bias; see `estimated`
    """
    if not has_several_labels(context) or not context.has("pool"):
        return ensemble
    scores, target = some_scores(context, members), target_ratio(context, members)

    def kept(factor: float) -> Ensemble:
        scaled = replace(ensemble, temperature=ensemble.temperature / factor)
        return scaled if target is None else corrected(context, members, scaled, scores, target)

    def judge(factor: float) -> tuple[Estimate | None, float]:
        """Return the estimate for this ensemble, and by how much its confidence is above the estimated accuracy."""
        own = kept(factor)
        estimate = estimated(context, members, own, left_out * factor + own.bias)
        return estimate, 0.0 if estimate is None else mean_confidence(own.merge(scores)) - estimate.accuracy

    # With a bias, the temperature changes which labels are the most likely ones, and so the estimate, too.
    factor = inverse_temperature(lambda factor: judge(factor)[1])
    estimate, _ = judge(factor)
    if estimate is None or estimate.disagreement is None:
        return ensemble
    provided = " if the class ratio is" if estimate.assumes_ratio else ""
    context.reporter.info(
        f"about {100 * estimate.accuracy:.0f}% of the soft labels should be right{provided} "
        f"({100 * estimate.low:.0f} to {100 * estimate.high:.0f}): two patterns disagree on "
        f"{100 * estimate.disagreement:.0f}% of the texts"
    )
    return replace(ensemble, temperature=ensemble.temperature / factor)


def some_scores(context: RunContext, members: Sequence[Member]) -> list[Array]:
    """Return the members' scores of evenly spaced texts of the pool."""
    step = max(1, len(context.texts("pool")) // _ROWS)
    return [np.asarray(own[::step]) for own in member_scores(context, members, "pool")]
