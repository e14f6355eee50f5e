"""The temperature of the merged labels of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.ensemble.calibration import disagreement, expected_error, inverse_temperature
from pet.ensemble.combine import Ensemble
from pet.ensemble.stacking import Stacked
from pet.members import pattern
from pet.run.context import RunContext
from pet.run.stages import Member, member_scores, trained_members

Array = NDArray[Any]
_ROWS = 20_000  # of the pool


def calibrated(
    context: RunContext, members: Sequence[Member], ensemble: Ensemble, stacked: Stacked, gold: Array
) -> Ensemble:
    """Return the ensemble with the temperature that makes it as confident on the pool as it is probably right.

    Members of later generations learned from each other's labels, so they agree on mistakes, too. What counts is the
    disagreement of the first generation, which learned from labeled texts only. Without labeled texts, without a pool,
    or with a single pattern, nothing changes.

    Parameters
    ----------
    context : the run
    members, ensemble : whose labels are calibrated
    stacked : what the weights were learned from
    gold : labels of the texts in `stacked`
    """
    first = [member for member in trained_members(context) if member.spec.kind == pattern.KIND]
    if len(first) < 2 or not (context.has("pool") and context.has("train")):
        return ensemble
    step = max(1, len(context.texts("pool")) // _ROWS)
    share = disagreement([np.asarray(own[::step]).argmax(axis=1) for own in member_scores(context, first, "pool")])
    known = stacked.known
    wrong = int((stacked.log_probabilities[known].argmax(axis=1) != gold[known]).sum())
    error = expected_error(share, len(context.task.labels), wrong, int(known.sum()))
    context.reporter.info(
        f"about {100 * (1 - error):.0f} % of the merged labels should be right: two patterns disagree on "
        f"{100 * share:.0f} % of the unlabeled texts"
    )
    scores = [own[::step] for own in member_scores(context, members, "pool")]
    factor = inverse_temperature(ensemble.merge(scores), 1 - error)
    return replace(ensemble, temperature=ensemble.temperature / factor)
