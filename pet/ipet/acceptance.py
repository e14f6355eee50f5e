"""Whether a generation is used: evidence from outside its members, as pure functions.

Members can agree more and more on the same mistakes, so their agreement and confidence do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
DOUBT = -1.0  # standard errors; below, a piece of evidence speaks against a generation
TRUST = 0.8  # kappa from which a classifier on embeddings knows the labels well enough to judge
RISE = 1.0  # standard errors by which the figures must rise in all
DRIFT = 0.15  # of label shares, in total variation: more than what a better generation usually changes


@dataclass(frozen=True)
class Evidence:
    """A figure of two generations, and by how many standard errors it has changed.

    Attributes
    ----------
    name : what was measured
    before, after : the figure of the generation before, and of the new one; higher is better
    change : difference in standard errors
    """

    name: str
    before: float
    after: float
    change: float

    def __str__(self) -> str:
        return f"{self.name} {self.before:.3f} -> {self.after:.3f} ({self.change:+.1f} standard errors)"


@dataclass(frozen=True)
class Decision:
    """Whether a generation is accepted, and why.

    Attributes
    ----------
    accepted : True if it is used
    reason : one sentence without a period
    """

    accepted: bool
    reason: str


def compare(name: str, before: Array, after: Array) -> Evidence | None:
    """Compare a figure of the same texts in two generations.

    Parameters
    ----------
    name : what was measured
    before, after : float arrays of shape (texts,); texts with a NaN are left out

    Returns
    -------
    Evidence, or None if fewer than two texts have the figure

    Examples
    --------
    >>> found = compare("agreement", np.array([0.0, 0, 0, 0]), np.array([1.0, 1, 0, 0]))
    >>> found.after, round(found.change, 3)
    (0.5, 1.732)
    """
    known = ~(np.isnan(before) | np.isnan(after))
    difference = (after - before)[known]
    if len(difference) < 2:
        return None
    error = float(difference.std(ddof=1)) / len(difference) ** 0.5
    mean = float(difference.mean())
    change = mean / error if error > 0 else float(np.sign(mean)) * (mean != 0)
    return Evidence(name, float(before[known].mean()), float(after[known].mean()), change)


def drift(before: Array, after: Array, expected: Array) -> float:
    """Return by how much label shares moved away from the expected ones, in total variation.

    Parameters
    ----------
    before, after, expected : shares of the labels, shape (L,)

    Examples
    --------
    >>> round(drift(np.array([0.5, 0.5]), np.array([0.8, 0.2]), np.array([0.6, 0.4])), 3)
    0.1
    """
    distance = [float(np.abs(shares - expected).sum()) / 2 for shares in (before, after)]
    return distance[1] - distance[0]


def decide(evidence: Sequence[Evidence], moved: float, otherwise: str = "") -> Decision:
    """Decide whether a generation is used.

    It is used if nothing speaks against it (no figure fell by more than a standard error, and label shares did not
    move away from what is expected), and the figures rose by a standard error in all.

    Parameters
    ----------
    evidence : what was measured outside the members
    moved : see `drift`
    otherwise : a reason to use it without evidence; default: there is none

    Examples
    --------
    >>> better, worse = Evidence("neighbors", 0.5, 0.6, 2.0), Evidence("labeled texts", -0.4, -0.9, -1.5)
    >>> decide([better], 0.0).accepted, decide([better, worse], 0.0).accepted, decide([better], 0.2).accepted
    (True, False, False)
    """
    if moved > DRIFT:
        return Decision(False, f"label shares moved {moved:.2f} away from what is expected")
    against = [item for item in evidence if item.change < DOUBT]
    if against:
        return Decision(False, "; ".join(map(str, against)))
    if not evidence and not otherwise:
        return Decision(False, "there is no evidence for it")
    if evidence and sum(item.change for item in evidence) < RISE:
        return Decision(False, "; ".join(map(str, evidence)))
    return Decision(True, "; ".join(map(str, evidence)) or otherwise)
