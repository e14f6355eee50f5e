"""Try the patterns on the untrained model: how accurate it is, and how fast."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pet.data.checks import column_labels
from pet.data.pick import evenly_spaced, pick_rows
from pet.data.sample import sample_shots
from pet.ensemble.class_ratio import AUTO
from pet.ensemble.combine import Ensemble
from pet.ensemble.settings import CONTEXTUAL
from pet.evaluate_sets import ranking_precision
from pet.members import untrained
from pet.members.kinds import make_scorer
from pet.members.null_text import label_bias, null_texts
from pet.members.seam import Scorer
from pet.members.shared import Shared
from pet.members.spec import pattern_spec
from pet.members.texts import Texts
from pet.preflight.report import ZeroShot
from pet.progress import Reporter
from pet.seeds import derive_seed

if TYPE_CHECKING:
    from datasets import Dataset

Array = NDArray[Any]


def try_patterns(
    shared: Shared, tables: Mapping[str, Dataset], rows: int, reporter: Reporter
) -> tuple[ZeroShot | None, float]:
    """Score some texts with every untrained pattern.

    Training texts are preferred to test texts: patterns must not be chosen by their accuracy on the test set.

    Parameters
    ----------
    shared : task, recipe, model, and device
    tables : at least one of ``train``, ``test``, ``unlabeled``
    rows : maximum number of texts
    reporter : shows progress

    Returns
    -------
    accuracy (None without labeled texts), and the number of tokens scored per second
    """
    name = next(name for name in ("train", "test", "unlabeled") if name in tables)
    if name == "unlabeled":
        return None, score_untrained(shared, evenly_spaced(tables[name], rows), reporter)[1]
    gold = column_labels(tables[name])
    drawn = sample_shots(
        gold,
        len(shared.task.labels),
        examples=min(rows, len(gold)),
        seed=derive_seed(0, "check"),
        balanced=False,
    )
    chosen = np.sort(drawn)
    gold = gold[chosen]
    scores, speed = score_untrained(shared, pick_rows(tables[name], chosen), reporter)
    names = [pattern.template.source for pattern in shared.task.patterns]
    ensemble = replace(Ensemble.of(names, labels=len(shared.task.labels)), independent=shared.task.multi_label)
    found = ZeroShot(
        table=name,
        rows=len(gold),
        majority=_majority(gold),
        patterns=[untrained_accuracy(s, gold) for s in scores],
        together=untrained_accuracy(ensemble.merge(scores), gold),
        multi_label=shared.task.multi_label,
    )
    if shared.task.multi_label:
        return found, speed
    predicted = np.bincount(ensemble.merge(scores).argmax(axis=1), minlength=len(shared.task.labels))
    return replace(
        found,
        favorite=shared.task.labels[int(predicted.argmax())],
        favorite_share=float(predicted.max() / len(gold)),
        without_bias=accuracy_without_bias(shared, ensemble, scores, gold),
    ), speed


def accuracy_without_bias(shared: Shared, ensemble: Ensemble, scores: Sequence[Array], gold: Array) -> dict[str, float]:
    """Return the accuracy of untrained patterns with each setting that removes their bias toward some labels.

    There is none if the class ratio is given: then it corrects them.

    Parameters
    ----------
    shared : task, recipe, model, and device
    ensemble : all patterns
    scores : of each pattern, shape (rows, L)
    gold : int array of shape (rows,)
    """
    if shared.recipe.merging.prior != AUTO:
        return {}
    even = np.full(len(shared.task.labels), 1 / len(shared.task.labels))
    calibrated = [own - label_bias(null, CONTEXTUAL) for own, null in zip(scores, _null_scores(shared), strict=True)]
    merged = {
        "prior=balanced": ensemble.corrected(scores, even).merge(scores),
        f"calibration={CONTEXTUAL}": ensemble.merge(calibrated),
    }
    return {setting: float((own.argmax(axis=1) == gold).mean()) for setting, own in merged.items()}


def _null_scores(shared: Shared) -> list[Array]:
    """Return the scores of texts without content by each untrained pattern, shape (texts, L)."""
    texts, found = null_texts(shared), []
    for scorer in _untrained(shared):
        found.append(np.empty((len(texts), len(shared.task.labels)), dtype=np.float32))
        scorer.scores(texts, found[-1])
    return found


def _untrained(shared: Shared) -> list[Scorer]:
    specs = [pattern_spec(untrained.KIND, number, 0) for number in range(len(shared.task.patterns))]
    return [make_scorer(spec, shared) for spec in specs]


def _majority(gold: Array) -> float:
    """Return the figure of always predicting the most frequent label, or of ranking labels by their frequency."""
    if gold.ndim == 2:
        return ranking_precision(np.tile(gold.mean(axis=0), (len(gold), 1)), gold > 0)
    return float(np.bincount(gold).max() / len(gold))


def score_untrained(shared: Shared, table: Dataset, reporter: Reporter) -> tuple[list[Array], float]:
    """Score a table with every untrained pattern.

    Returns
    -------
    a float32 array of shape (rows, L) for each pattern, and the number of tokens scored per second
    """
    scorers = _untrained(shared)
    texts = Texts(table, lambda: shared.plan)
    out = np.empty((len(scorers), len(table), len(shared.task.labels)), dtype=np.float32)
    # The first batch includes one-time work, so it is not timed.
    few = Texts(pick_rows(table, range(min(2, len(table)))), lambda: shared.plan)
    scorers[0].scores(few, out[0, : len(few)])
    tokens = texts.tokens
    start = time.perf_counter()
    with reporter.task("score with the untrained model", len(table) * len(scorers), "text") as bar:
        for scorer, scores in zip(scorers, out, strict=True):
            scorer.scores(texts, scores, bar.update)
    seconds = time.perf_counter() - start
    total = sum(len(pvp.fill(tokens).ids.values) for pvp in shared.pvps)
    return list(out), total / max(seconds, 1e-9)


def untrained_accuracy(scores: Array, gold: Array) -> dict[str, float]:
    """Return the accuracy of scores as they are, and after centering.

    If texts may have several labels, it is the label ranking average precision.

    Parameters
    ----------
    scores : shape (rows, L)
    gold : int array of shape (rows,), or 0 and 1 for each label, shape (rows, L)

    Returns
    -------
    dict
        ``accuracy``, and ``centered``: the accuracy after subtracting each label's mean score over these rows. It
        shows what a pattern can distinguish even if the model prefers one of the words.

    Examples
    --------
    The first label always scores 10 more:

    >>> untrained_accuracy(np.array([[11.0, 0.0], [10.0, 1.0]]), np.array([0, 1]))
    {'accuracy': 0.5, 'centered': 1.0}
    """
    centered = scores - scores.mean(axis=0)
    if gold.ndim == 2:
        return {name: ranking_precision(s, gold > 0) for name, s in (("accuracy", scores), ("centered", centered))}
    return {
        "accuracy": float((scores.argmax(axis=1) == gold).mean()),
        "centered": float((centered.argmax(axis=1) == gold).mean()),
    }
