"""What the report of a run shows besides its figures: members, losses, confidence, and single texts.

Everything is read from files of finished stages, so a run that was resumed has the same report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.confusion import Confusion
from pet.data.pick import evenly_spaced, pick_columns, pick_rows
from pet.embeddings.fit import fit_figures, held_out_fit, label_centers, least_fit, nearest_fit
from pet.ensemble.combine import Ensemble, SoftLabels
from pet.members import embeddings
from pet.members.kinds import NOTE
from pet.members.texts import Texts
from pet.numerics import unit_length
from pet.run.classifiers import TEST_LOGITS
from pet.run.context import PARTS, RunContext
from pet.run.merging import kept_ensemble, probabilities_of
from pet.run.shown_texts import (
    confused_pairs,
    contradicted_texts,
    doubtful_texts,
    indicator,
    left_out_probabilities,
    soft_labels,
    wrong_texts,
)
from pet.run.stages import Member, member_scores, members_of, read_scores
from pet.store.json_reader import read_json
from pet.store.schema import list_of, maybe, number, record
from pet.student.classifier import read_threshold
from pet.student.distill import one_hot

Array = NDArray[Any]
_MOST_ROWS = 20_000  # evenly spaced rows that figures about large tables are computed from
_TOKENIZED = 500  # texts of each part whose length in tokens is looked at
_BINS = 10
_POINTS = 20  # of the curve of accuracy over coverage
_SHARES = (0.01, 0.05, 0.1, 0.2)  # of the labeled texts that fit no label by a threshold
_LOSSES = record({}, {"losses": list_of(maybe(number()))})


def evidence(context: RunContext, results: Mapping[str, Any]) -> dict[str, Any]:
    """Collect what the report shows.

    Parameters
    ----------
    context : a run whose stages are finished
    results : its figures

    Returns
    -------
    dict
        Keys without content are missing.

        - ``tables``: part -> ``rows``, ``duplicates``, words (``median``, ``most``: 95%, ``longest``), and ``cut``,
          the share of texts that are truncated
        - ``weights``: for each member ``name``, ``pattern``, ``weight``, ``losses``, ``agreement`` with the ensemble on
          the pool, and ``left_out``: right ones among the labeled texts that it left out, and their number
        - ``student_losses``: mean losses
        - ``pool``: ``confidence`` and ``agreement``, numbers of unlabeled texts in classes
        - ``coverage``: see `pet.report.charts.coverage`
        - ``fit``: what `pet predict --none-of-these X` would keep and leave out of the test texts, for some ``share``;
          see `pet.embeddings.fit.fit_figures`
        - ``left_out``: without test texts, ``confusion`` of the labeled texts that members left out, and its ``labels``
        - ``confused``, ``texts``: see `pet.run.shown_texts`
    """
    found: dict[str, Any] = {"tables": {part: _table(context, part) for part in PARTS if context.has(part)}}
    if "student" in results or context.settings.method == "supervised":
        found["student_losses"] = context.directory.info("student", _LOSSES).get("losses", [])
    soft: dict[str, SoftLabels] = {}
    if context.settings.method != "supervised":
        members = members_of(context, results.get("generation", 0))
        ensemble = kept_ensemble(context, members)
        rows = _spaced(len(context.texts("pool"))) if context.has("pool") else np.zeros(0, dtype=np.int64)
        for part in ("pool", "test"):
            if context.has(part):
                chosen = rows if part == "pool" else slice(None)
                soft[part] = ensemble.combine([own[chosen] for own in member_scores(context, members, part)])
        found["weights"] = [_member(context, member, ensemble, soft.get("pool")) for member in members]
        if "pool" in soft:
            found["pool"] = {"confidence": _confidence(soft["pool"]), "agreement": _agreement(soft["pool"])}
        found |= _left_out_texts(context, members, ensemble)
        found["texts"] = found.get("texts", {}) | doubtful_texts(context, soft.get("pool"), rows)
    if context.has("test"):
        said = _said(context, results, soft)
        right = (said.applies == indicator(context, "test")).all(axis=1)
        found["coverage"] = _coverage(said.confidence, right)
        found["fit"] = _fit(context, right)
        if not context.task.multi_label:
            found["confused"] = confused_pairs(context, "test", said.probabilities)
        found["texts"] = {**found.get("texts", {}), **wrong_texts(context, said, soft.get("test"))}
    return {name: content for name, content in found.items() if content}


def _left_out_texts(context: RunContext, members: Sequence[Member], ensemble: Ensemble) -> dict[str, Any]:
    """Return what members say about labeled texts that they did not learn from: ``texts``, and what they confuse."""
    probabilities = left_out_probabilities(context, members)
    if probabilities is None:
        return {}
    found: dict[str, Any] = {"texts": contradicted_texts(context, probabilities, ensemble.threshold)}
    if context.task.multi_label or context.has("test"):
        return found
    known = ~np.isnan(probabilities).any(axis=1)
    gold, labels = context.texts("train").labels[known], context.task.labels
    counts = Confusion.of(gold, probabilities[known].argmax(axis=1), len(labels))
    found["left_out"] = {"confusion": counts.to_json(), "labels": labels}
    return found | {"confused": confused_pairs(context, "train", probabilities)}


def _spaced(rows: int) -> Array:
    return np.arange(0, rows, max(1, rows // _MOST_ROWS))


def _said(context: RunContext, results: Mapping[str, Any], soft: Mapping[str, SoftLabels]) -> SoftLabels:
    """Return the labels of the test texts: those of the student, or of the ensemble without one."""
    if "student" not in results:
        return soft["test"]
    shape, folder = (len(context.texts("test")), len(context.task.labels)), context.directory.path / "student"
    probabilities = probabilities_of(context, read_scores(folder / TEST_LOGITS, shape))
    return soft_labels(context.task, probabilities, read_threshold(folder))


# ---- data --------------------------------------------------------------------------------------


def _table(context: RunContext, part: str) -> dict[str, Any]:
    texts, keys = context.texts(part), context.data.keys.get(part)
    columns = pick_columns(pick_rows(texts.table, _spaced(len(texts))), list(context.task.fields))
    words = np.asarray([sum(len(str(value).split()) for value in row.values()) for row in columns])
    return {
        "rows": len(texts),
        "duplicates": 0 if keys is None else len(keys) - len(np.unique(keys)),
        "median": int(np.median(words)),
        "most": int(np.quantile(words, 0.95)),
        "longest": int(words.max()),
        "cut": _cut(context, texts),
    }


def _cut(context: RunContext, texts: Texts) -> float | None:
    """Return the share of texts that are truncated, with the pattern that truncates most; None without patterns."""
    if context.settings.method == "supervised" and not context.settings.compares:
        return None
    tokens = context.shared.plan.tokenize(evenly_spaced(texts.table, _TOKENIZED))
    return max(float(pvp.fill(tokens).cut.mean()) for pvp in context.shared.pvps)


# ---- members -----------------------------------------------------------------------------------


def _member(context: RunContext, member: Member, ensemble: Ensemble, pool: SoftLabels | None) -> dict[str, Any]:
    place = ensemble.names.index(member.name)
    pattern = member.spec.pattern
    found = {
        "name": member.name,
        "pattern": "" if pattern is None else context.task.patterns[pattern].template.source,
        "weight": float(ensemble.weights[place] / ensemble.weights.sum()),
        "losses": _losses(context, member),
        "left_out": _left_out(context, member),
    }
    if pool is not None:
        same = pool.agrees[:, place][pool.voted[:, place]]
        found["agreement"] = float(same.mean()) if len(same) else None
    return found


def _losses(context: RunContext, member: Member) -> list[float | None]:
    note = context.directory.path / member.stage / NOTE
    if not note.is_file():
        return []
    return list(read_json(note, "train this member again", _LOSSES).get("losses", []))


def _left_out(context: RunContext, member: Member) -> list[int] | None:
    """Return how many labeled texts that the member left out it gets right, with all their labels, and of how many."""
    file = context.directory.path / member.stage / "train-logits.npy"
    if not context.has("train") or not file.is_file():
        return None
    (scores,) = member_scores(context, [member], "train")
    known = ~np.isnan(scores).any(axis=1)
    found = scores[known] >= 0 if context.task.multi_label else one_hot(scores[known].argmax(axis=1), scores.shape[1])
    right = (found == indicator(context, "train")[known]).all(axis=1)
    return [int(right.sum()), int(known.sum())] if known.any() else None


# ---- confidence --------------------------------------------------------------------------------


def _confidence(soft: SoftLabels) -> dict[str, int]:
    counts = np.histogram(np.clip(soft.confidence, 0, 1), bins=_BINS, range=(0, 1))[0]
    return {f"{k / _BINS:.1f} to {(k + 1) / _BINS:.1f}": int(count) for k, count in enumerate(counts)}


def _agreement(soft: SoftLabels) -> dict[str, int]:
    """Return for each number of members, how many texts have so many that name the label of the ensemble."""
    agree = np.count_nonzero(soft.agrees, axis=1)
    return {str(number): int((agree == number).sum()) for number in range(soft.votes.shape[1] + 1)}


def _coverage(confidence: Array, right: Array) -> list[dict[str, Any]]:
    order = np.argsort(-confidence, kind="stable")
    hits = np.cumsum(right[order])
    counts = np.unique(np.ceil(np.linspace(0, len(right), _POINTS + 1)[1:]).astype(np.int64))
    return [
        {
            "n": int(n),
            "right": int(hits[n - 1]),
            "share": float(n / len(right)),
            "confidence": float(confidence[order[n - 1]]),
        }
        for n in counts
    ]


def _fit(context: RunContext, right: Array) -> list[dict[str, Any]]:
    """Return what thresholds of the fit would do; empty without labeled texts, or if the run keeps no vectors."""
    kept = any(spec.kind == embeddings.KIND and not embeddings.encoder_of(spec) for spec in context.specs)
    if not kept or not context.has("train"):
        return []
    parts = context.texts("train"), context.texts("test")
    train, test = (np.asarray(texts.vectors[""]) for texts in parts)
    vectors, gold = unit_length(train), parts[0].labels
    if gold.ndim == 2:  # a text without a label says nothing about what fits
        vectors, gold = vectors[gold.any(axis=1)], gold[gold.any(axis=1)]
    if not len(gold):
        return []
    own, fit = held_out_fit(vectors, gold), nearest_fit(test, label_centers(vectors, gold))
    return [{"share": share, **fit_figures(fit, least_fit(own, share), right)} for share in _SHARES]
