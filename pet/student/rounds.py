"""Train a student, and train it on while it is clearly worse than its soft labels.

The soft labels tell how good a student should be: the mean probability of their own labels is the accuracy that they
expect of themselves, and the mean probability of the student's labels is the one that they expect of the student. No
labeled text is needed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pet.data.pick import pick_rows
from pet.evaluate_sets import HALF
from pet.progress import Reporter
from pet.seeds import derive_seed
from pet.student.bias import CLEAR, fitting_bias, misplaced, shift_scores
from pet.student.classifier import Classifier
from pet.student.distill import Distillation, Gold, Targets, fit_classifier
from pet.training.batching import draw_some
from pet.training.device import Accelerator

if TYPE_CHECKING:
    from datasets import Dataset

Array = NDArray[Any]
FARTHEST = 0.05  # students that are as good as their teachers are within 0.02 (benchmarks/README.md)
_WATCHED_TEXTS = 256


def shortfall(targets: Array, labels: Array) -> float:
    """Return the share of the soft labels' expected accuracy that a student's labels miss, between 0 and 1.

    Parameters
    ----------
    targets : soft labels, shape (rows, L)
    labels : the student's label of each text, shape (rows,); or which labels each text has, bool array of shape
        (rows, L). In this case, F1 over all decisions takes the place of the accuracy

    Examples
    --------
    >>> soft = np.array([[0.9, 0.1], [0.3, 0.7]])
    >>> shortfall(soft, np.array([0, 1]))
    0.0
    >>> round(shortfall(soft, np.array([0, 0])), 3)  # (0.9 + 0.3) / (0.9 + 0.7)
    0.25
    """
    if labels.ndim == 2:
        best = _expected_f1(targets, targets >= HALF)
        return 1 - _expected_f1(targets, labels) / best if best else 0.0
    own = targets[np.arange(len(targets)), labels]
    return float(1 - own.sum() / targets.max(axis=1).sum())


def _expected_f1(probabilities: Array, said: Array) -> float:
    """Return the expected F1 over all decisions if labels have these probabilities."""
    total = probabilities.sum() + said.sum()
    return float(2 * (probabilities * said).sum() / total) if total else 0.0


def fit_student(
    classifier: Classifier,
    table: Dataset,
    targets: Targets,
    how: Distillation,
    accelerator: Accelerator,
    reporter: Reporter,
    *,
    gold: Gold | None = None,
    label: str = "student",
) -> list[float]:
    """Train a student in place, in one round or more.

    After each round it labels up to 256 of the texts. While `shortfall` is above 5%, it is trained again, with new
    batches and the same schedule. In the end, if more than 3% of its probability is on other labels than that of the
    soft labels, its output layer gets the `pet.student.bias.fitting_bias` of these texts.

    Parameters
    ----------
    classifier : a new classifier
    table, targets, how, accelerator, gold : see `pet.student.distill.fit_classifier`
    reporter : shows progress
    label : name of the classifier in messages

    Returns
    -------
    list of float: mean losses over intervals of updates
    """
    rows = np.sort(draw_some(len(table), _WATCHED_TEXTS, np.random.default_rng(derive_seed(how.seed, "watched"))))
    losses: list[float] = []
    for number in range(1, how.rounds + 1):
        changed = how if number == 1 else replace(how, seed=derive_seed(how.seed, "round", number))
        again = f", round {number} of at most {how.rounds}" if number > 1 else ""
        with reporter.task(f"train {label}{again}", how.schedule.steps) as bar:
            losses += fit_classifier(
                classifier, table, targets, changed, accelerator, gold=gold,
                on_step=lambda _, loss: bar.update(loss=loss),
            )  # fmt: skip
        if number == how.rounds and not how.fit_bias:
            break
        soft = np.asarray(targets[rows], dtype=np.float64)
        scores = classifier.scores(pick_rows(table, rows), accelerator)
        missed = shortfall(soft, scores >= 0 if classifier.independent else scores.argmax(axis=1))
        if number == how.rounds or missed <= FARTHEST:
            kind = {"independent": classifier.independent}
            if how.fit_bias and misplaced(scores, soft, **kind) > CLEAR:
                shift_scores(classifier, fitting_bias(scores, soft, **kind))
            break
        reporter.info(
            f"the {label} should be {100 * missed:.0f}% less accurate than its soft labels; training it again"
        )
    return losses
