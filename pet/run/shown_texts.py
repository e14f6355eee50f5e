"""Texts that a report shows: wrong ones, doubtful ones, and labeled ones that the others contradict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.data.pick import pick_columns, pick_rows
from pet.ensemble.combine import ABSTAINS, SoftLabels, SoftLabelSets
from pet.ensemble.contradictions import contradicted_decisions, contradictions
from pet.members import embeddings
from pet.numerics import sigmoid, unit_length
from pet.report.pages import short
from pet.run.context import RunContext
from pet.run.merging import kept_ensemble
from pet.run.stages import Member
from pet.run.weights import as_kept, stacked_evidence
from pet.task.task import Task

Array = NDArray[Any]
MOST_TEXTS = 30  # of each list
NO_LABEL = "no label"
_PAIRS, _TEXTS_PER_PAIR = 10, 3


def indicator(context: RunContext, part: str) -> Array:
    """Return which labels the texts of a part have: bool array of shape (rows, L)."""
    gold = context.texts(part).labels
    return np.asarray(gold > 0 if gold.ndim == 2 else gold[:, None] == np.arange(len(context.task.labels)))


def soft_labels(task: Task, probabilities: Array, threshold: float) -> SoftLabels:
    """Return probabilities as soft labels without votes.

    Parameters
    ----------
    task : the task
    probabilities : shape (rows, L)
    threshold : a label applies from this probability, if a text may have several
    """
    rows, labels = probabilities.shape
    if task.multi_label:
        return SoftLabelSets(probabilities, np.zeros((rows, 0, labels), dtype=np.int8), threshold)
    return SoftLabels(probabilities, np.zeros((rows, 0), dtype=np.int64))


def wrong_texts(context: RunContext, said: SoftLabels, members: SoftLabels | None) -> dict[str, Any]:
    """Return the test texts with wrong labels under ``wrong``, the most confident mistakes first.

    Parameters
    ----------
    context : the run
    said : labels of the test texts
    members : what the members say about them; only their votes are shown
    """
    gold = indicator(context, "test")
    mistakes = said.applies != gold
    sure = np.where(said.applies, said.probabilities, 1 - said.probabilities)
    confidence = np.where(mistakes, sure, 0.0).max(axis=1) if context.task.multi_label else said.confidence
    wrong = np.flatnonzero(mistakes.any(axis=1))
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")]
    rows = wrong[:MOST_TEXTS]
    shown = _shown(context, "test", rows, said.take(rows), gold[rows])
    if members is not None:
        _add_votes(context, shown, members.votes[rows])
    return {"wrong": {"total": len(wrong), "rows": shown}}


def doubtful_texts(context: RunContext, pool: SoftLabels | None, rows: Array) -> dict[str, Any]:
    """Return the unlabeled texts about which most members disagree under ``doubtful``; empty without a pool.

    Parameters
    ----------
    context : the run
    pool : merged labels of some unlabeled texts
    rows : which ones
    """
    if pool is None:
        return {}
    agreement, confidence = pool.agreement, pool.confidence
    doubtful = np.flatnonzero((agreement < 1) | (confidence < 0.5))
    doubtful = doubtful[np.lexsort((confidence[doubtful], agreement[doubtful]))]
    chosen = doubtful[:MOST_TEXTS]
    shown = _shown(context, "pool", rows[chosen], pool.take(chosen))
    _add_votes(context, shown, pool.votes[chosen])
    return {"doubtful": {"total": len(doubtful), "rows": shown}}


def left_out_probabilities(context: RunContext, members: Sequence[Member]) -> Array | None:
    """Return what members say about labeled texts that they did not learn from, merged as for the unlabeled texts.

    Returns
    -------
    Probabilities of shape (n, L), NaN where no member left out the text; None if members left out no labeled texts
    """
    if context.recipe.merging.merge != "learned" or not context.settings.trains_members:
        return None
    stacked, gold = stacked_evidence(context, members)
    if not len(gold) or not stacked.known.any():
        return None
    if context.task.multi_label:
        return sigmoid(as_kept(stacked, kept_ensemble(context, members)))
    return np.exp(stacked.log_probabilities)  # in the ratio of the labeled texts, which they are compared with


def contradicted_texts(context: RunContext, probabilities: Array, threshold: float) -> dict[str, Any]:
    """Return the labeled texts whose label is probably wrong under ``contradicted``.

    Parameters
    ----------
    context : the run
    probabilities : from `left_out_probabilities`
    threshold : a label applies from this probability, if a text may have several
    """
    gold, margins = context.texts("train").labels, None
    if context.task.multi_label:
        margins = contradicted_decisions(probabilities, gold)
        found = np.argsort(-margins.max(axis=1), kind="stable")[: np.count_nonzero(margins.any(axis=1))]
    else:
        found = contradictions(probabilities, gold)
    rows = found[:MOST_TEXTS]
    said = soft_labels(context.task, probabilities[rows], threshold)
    shown = _shown(context, "train", rows, said, indicator(context, "train")[rows])
    if margins is not None:
        for about, row in zip(shown, rows, strict=True):
            about["contradicted"] = label_names(context.task, margins[row] > 0)
    return {"contradicted": {"total": len(found), "rows": shown}}


def confused_pairs(context: RunContext, part: str, probabilities: Array) -> dict[str, Any]:
    """Return the pairs of labels that are confused most, with texts, under ``pairs``.

    Parameters
    ----------
    context : the run
    part : whose texts, ``test`` or ``train``
    probabilities : shape (n, L); NaN where nothing is known
    """
    gold, predicted, names = context.texts(part).labels, probabilities.argmax(axis=1), context.task.labels
    known = ~np.isnan(probabilities).any(axis=1)
    wrong = np.flatnonzero(known & (predicted != gold))
    counts = Counter(zip(gold[wrong].tolist(), predicted[wrong].tolist(), strict=True))
    confidence, support = probabilities.max(axis=1), np.bincount(gold[known], minlength=len(names))
    pairs = []
    for (right, said), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_PAIRS]:
        rows = wrong[(gold[wrong] == right) & (predicted[wrong] == said)]
        rows = rows[np.argsort(-confidence[rows], kind="stable")][:_TEXTS_PER_PAIR]
        texts = _fields(context, part, rows)
        pairs.append(
            {"gold": names[right], "predicted": names[said], "count": count, "of": int(support[right]), "texts": texts}
        )
    return {"pairs": pairs} if pairs else {}


def _shown(
    context: RunContext, part: str, rows: Array, said: SoftLabels, gold: Array | None = None
) -> list[dict[str, Any]]:
    """Return texts with their most probable labels, their gold labels, and the nearest labeled text."""
    shown, applies, confidence = [], said.applies, said.confidence
    for place, (fields, near) in enumerate(
        zip(_fields(context, part, rows), _nearest(context, part, rows), strict=True)
    ):
        about: dict[str, Any] = {
            "fields": fields,
            "predicted": label_names(context.task, applies[place]),
            "confidence": float(confidence[place]),
        }
        about |= other_label(context.task, said.probabilities[place], applies[place])
        if gold is not None:
            about["gold"] = label_names(context.task, gold[place])
        shown.append(about | {"nearest": near, "votes": []})
    return shown


def label_names(task: Task, applies: Array) -> str:
    """Return the names of the labels that apply, of a bool array of shape (L,)."""
    return ", ".join(label for label, own in zip(task.labels, applies, strict=True) if own) or NO_LABEL


def other_label(task: Task, probabilities: Array, applies: Array) -> dict[str, Any]:
    """Return the second most probable label; the least certain one if a text may have several."""
    names = task.labels
    if task.multi_label:
        least = int(np.where(applies, probabilities, 1 - probabilities).argmin())
        return {"unsure": names[least], "unsure_probability": float(probabilities[least])}
    if len(names) == 1:
        return {}
    second = int(np.argsort(-probabilities, kind="stable")[1])
    return {"second": names[second], "second_confidence": float(probabilities[second])}


def _add_votes(context: RunContext, shown: list[dict[str, Any]], votes: Array) -> None:
    for about, row in zip(shown, votes, strict=True):
        known = np.nonzero(row == 1)[1] if row.ndim == 2 else row[row != ABSTAINS]
        counts = Counter(known.tolist())
        about["votes"] = [(context.task.labels[vote], count) for vote, count in counts.most_common()]


def _fields(context: RunContext, part: str, rows: Array) -> list[list[tuple[str, str]]]:
    """Return name and text of each field of some rows. The name of an only field is empty."""
    fields = context.task.fields
    names = fields if len(fields) > 1 else ("",)
    table = pick_columns(pick_rows(context.texts(part).table, rows), list(fields))
    return [[(name, short(str(row[field]))) for name, field in zip(names, fields, strict=True)] for row in table]


def _nearest(context: RunContext, part: str, rows: Array) -> list[dict[str, Any] | None]:
    """Return the nearest labeled text of each row, by the vectors that the run has kept; None without vectors."""
    spec = next((spec for spec in context.specs if spec.kind == embeddings.KIND), None)
    nothing: list[dict[str, Any] | None] = [None] * len(rows)
    if spec is None or not context.has("train") or not len(rows):
        return nothing
    encoder = embeddings.encoder_of(spec)
    known = context.texts("train").vectors.get(encoder), context.texts(part).vectors.get(encoder)
    if known[0] is None or known[1] is None:
        return nothing
    labeled = np.asarray(known[0], dtype=np.float64)
    center = labeled.mean(axis=0)  # what all texts have in common says nothing
    similarity = unit_length(np.asarray(known[1][rows], dtype=np.float64) - center) @ unit_length(labeled - center).T
    if part == "train":
        similarity[np.arange(len(rows)), rows] = -np.inf
    best = similarity.argmax(axis=1)
    texts, gold = _fields(context, "train", best), indicator(context, "train")
    return [
        {"fields": fields, "label": label_names(context.task, gold[row]), "similarity": float(similarity[place, row])}
        for place, (row, fields) in enumerate(zip(best.tolist(), texts, strict=True))
    ]
