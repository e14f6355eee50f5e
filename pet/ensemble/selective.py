"""Keep the labels that are sure enough, with a guarantee on how many of those are wrong.

Held-out labeled texts give each new text a conformal p-value for "its label is wrong", and the procedure of Benjamini
and Hochberg chooses which labels to keep (Jin and Candès 2023, arXiv 2210.01408). If held-out and new texts are drawn
alike, the expected share of wrong labels among those that are kept is at most the error that was asked for, whatever
the classifier and however badly it is calibrated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Selection:
    """Which labels are kept.

    Attributes
    ----------
    confidence : least confidence of a label that is kept; infinite if none is
    kept : share of the new texts whose labels are kept
    held_out, wrong : held-out texts, and how many of those above the confidence have a wrong label
    """

    confidence: float
    kept: float
    held_out: int
    wrong: int


def fewest_texts(error: float) -> int:
    """Return how many held-out texts are needed at least, if none of their labels is wrong and all are kept.

    Examples
    --------
    >>> fewest_texts(0.05)
    19
    """
    return int(np.ceil(1 / error)) - 1


def select(held_out: Array, right: Array, new: Array, error: float) -> Selection:
    """Choose the least confidence of labels to keep.

    With n held-out texts and m new ones, a confidence is low enough if the wrong labels above it, plus one, are at most
    the share ``error`` of n + 1 times the share of the m new texts above it. The lowest such confidence is chosen.

    If another rule leaves texts out, too, give these texts, held-out and new ones, the confidence minus infinity: the
    guarantee is then about the texts that both rules keep.

    Parameters
    ----------
    held_out : confidence of the labels of held-out texts, shape (n,); minus infinity: never kept
    right : whether these labels are right, bool array of shape (n,)
    new : confidence of the labels of new texts, shape (m,); minus infinity: never kept
    error : largest expected share of wrong labels among those that are kept

    Examples
    --------
    Of 40 held-out texts, only those with a confidence below .5 are wrong. With .5, 20 of 40 new texts are kept:
    (0 + 1) / 41 is at most .05 * 20 / 40.

    >>> sure = np.linspace(0.025, 1.0, 40)
    >>> select(sure, sure > 0.5, sure, 0.05).kept
    0.5
    """
    held_out, right, new = np.asarray(held_out), np.asarray(right, dtype=bool), np.sort(np.asarray(new))
    wrong = np.sort(held_out[~right])
    above = len(new) - np.arange(len(new))  # new texts that are at least as sure as each
    mistakes = len(wrong) - np.searchsorted(wrong, new, side="left")
    fine = (mistakes + 1) / (len(held_out) + 1) <= error * above / len(new)
    fine &= new > -np.inf
    if not fine.any():
        return Selection(float("inf"), 0.0, len(held_out), 0)
    first = int(np.argmax(fine))
    return Selection(float(new[first]), float(above[first] / len(new)), len(held_out), int(mistakes[first]))
