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
TRUST = 0.8  # kappa from which a classifier on embeddings knows the labels well enough to judge
# Standard errors by which each figure must rise. One is not enough, because both are partial to a new generation: it
# learned labels from members that have seen the labeled texts, and smoother labels are easier to predict.
RISE = 2.0
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

    It is used if every figure rose clearly, and label shares did not move away from what is expected.

    Parameters
    ----------
    evidence : what was measured outside the members
    moved : see `drift`
    otherwise : a reason to use it without evidence; default: there is none

    Examples
    --------
    >>> better, same = Evidence("neighbors", 0.5, 0.6, 2.5), Evidence("labeled texts", -0.4, -0.3, 0.5)
    >>> decide([better], 0.0).accepted, decide([better, same], 0.0).accepted, decide([better], 0.2).accepted
    (True, False, False)
    """
    if moved > DRIFT:
        return Decision(False, f"label shares moved {moved:.2f} away from what is expected")
    if not evidence and not otherwise:
        return Decision(False, "there is no evidence for it")
    weak = [item for item in evidence if item.change < RISE]
    if weak:
        return Decision(False, f"{'; '.join(map(str, weak))}; a rise of {RISE:g} is needed")
    return Decision(True, "; ".join(map(str, evidence)) or otherwise)
