"""How often reviewers agree with the proposed labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pet.data.reviewed import LABELED, NONE_OF_THESE, Decision, named
from pet.statistics import wilson

POINTS = 60  # of the curve


def agreement(decisions: Iterable[Decision]) -> dict[str, Any]:
    """Return how often the proposed label is right, and how this share moves from decision to decision.

    Texts that nobody could decide about do not count. A text with none of the labels counts as a disagreement, unless
    none was proposed. If a text may have several labels, all of them must be proposed, and no others.

    Parameters
    ----------
    decisions : in the order in which they were made

    Returns
    -------
    dict
        - ``n``, ``right``: number of decisions that count, and of those that agree
        - ``interval``: 95% interval of the share (Wilson); None if nothing counts
        - ``curve``: (n, share, low, high) after some of the decisions, the last one included

    Examples
    --------
    >>> found = agreement([Decision("a", {}, "x", "labeled", proposed=label) for label in ("x", "x", "y", "x")])
    >>> found["right"], found["n"], [round(end, 2) for end in found["interval"]]
    (3, 4, [0.3, 0.95])
    """
    counted = (LABELED, NONE_OF_THESE)
    judged = [decision for decision in decisions if decision.verdict in counted]
    # The labels may have had another order when they were proposed.
    hits = [set(decision.labels) == set(named(decision.proposed)) for decision in judged]
    curve, right = [], 0
    places = _places(len(hits))
    for n, hit in enumerate(hits, 1):
        right += hit
        if n in places:
            curve.append((n, right / n, *wilson(right, n)))
    return {"n": len(hits), "right": right, "interval": curve[-1][2:] if curve else None, "curve": curve}


def _places(count: int) -> Sequence[int] | set[int]:
    return range(1, count + 1) if count <= POINTS else {round(count * (i + 1) / POINTS) for i in range(POINTS)}
