"""Accuracy without test texts: members trained on half of the labeled texts label the other half.

Several draws of a half are labeled, each by one pattern and the members that are fitted in seconds, merged with the
weights of the run. What they get right is a little less than what the run gets right: they learned from fewer texts,
and fewer patterns vote. If a text may have several labels, a text is right if all its labels are; the micro F1 of the
same predictions is estimated, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.data.folds import NEVER, stratified_folds
from pet.ensemble.combine import Ensemble
from pet.members import pattern
from pet.members.kinds import KINDS, fit_scorer, make_scorer
from pet.members.seam import MemberData
from pet.members.shared import Shared
from pet.members.spec import MemberSpec
from pet.numerics import log_softmax, mean_known, sigmoid
from pet.preflight.halves import DRAWS, FEWEST, FOLDS, MOST_COST, Size, half_recipe, relative_cost, size_of
from pet.run.class_ratio import text_weights
from pet.run.context import RunContext
from pet.run.held_out import fold_count, has_several_labels, learns_weights
from pet.run.stages import Member, member_scores, read_scores, scored_parts
from pet.seeds import derive_seed
from pet.statistics import effective_size, mean_interval, wilson
from pet.statistics_sets import mean_micro_f1
from pet.store.temporary import Scratch

Array = NDArray[Any]
STAGE, FILE = "halves", "scores.npy"


@dataclass(frozen=True)
class Gain:
    """What more labels brought.

    Attributes
    ----------
    texts : number of additional labeled texts
    difference, low, high : additional accuracy, and its 95% interval
    """

    texts: int
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Halves:
    """How many labeled texts get the right label from members that were trained on half of the texts.

    Attributes
    ----------
    draws, labeled : number of draws, and of labeled texts
    judged : texts that at least one draw has labeled
    accuracy, low, high : mean share of right labels, and its 95% interval; of texts with the class ratio that the run
        corrects its labels to
    size : how many texts that count alike say as much as those that were judged
    gain : from half of the texts to all of them but a fold; None if nothing says so
    micro_f1 : the figure and its 95% interval, if texts may have several labels
    """

    draws: int
    labeled: int
    judged: int
    accuracy: float
    low: float
    high: float
    size: float
    gain: Gain | None = None
    micro_f1: tuple[float, float, float] | None = None


def wants_halves(context: RunContext) -> bool:
    """Return True if the run estimates its accuracy from halves of the labeled texts.

    By default it does if there are no test texts, and it takes at most half as long as the rest of the run.
    """
    settings = context.settings
    possible = settings.trains_members and has_several_labels(context)
    if settings.estimate is False or not possible or context.shared.group is not None:
        return False
    if _judged(context.texts("train").labels) < FEWEST:
        return False
    if settings.estimate is None:
        return not context.has("test") and relative_cost(context.recipe, _size(context)) <= MOST_COST
    return True


def _size(context: RunContext) -> Size:
    pool = len(context.texts("pool")) if context.has("pool") else 0
    return size_of(context.recipe, len(context.task.patterns), len(context.texts("train")), pool)


def _judged(gold: Array) -> int:
    """Return how many labeled texts can be left out: those that are not the only one of a label."""
    return int((stratified_folds(gold, 2, seed=0) != NEVER).sum())


def estimate_from_halves(
    context: RunContext, members: Sequence[Member], ensemble: Ensemble, left_out: Array
) -> Halves | None:
    """Estimate the accuracy of the merged labels from halves of the labeled texts.

    Parameters
    ----------
    context : the run
    members, ensemble : whose weights merge the scores
    left_out : merged log-probabilities of each labeled text by members that were trained without it, shape (n, L), with
        NaN where there are none (log-odds, if a text may have several labels); shape (0, L): train further members

    Returns
    -------
    Halves; None unless the run wants it (`wants_halves`)
    """
    if not wants_halves(context):
        if context.settings.estimate and context.shared.group is None:
            context.reporter.warn(
                "no estimate from halves: it requires labeled texts of two labels or more, and "
                f"{FEWEST} labeled texts of labels that occur more than once"
            )
        return None
    gold, labels = context.texts("train").labels, len(context.task.labels)
    draws = _draws(context)
    weights = draw_weights(members, ensemble)

    def build(folder: Path) -> None:
        np.save(folder / FILE, _scores(context, draws, weights).astype(np.float32).reshape(-1, labels))

    judged = [member for member in members if scored_parts(context, member, ())]  # the weights depend on these scores
    scores = [context.directory.fingerprint(f"{member.stage}/scores") for member in judged]
    context.directory.stage(STAGE, {"config": context.config_hash, "scores": scores}, build)
    merged = read_scores(context.directory.path / STAGE / FILE, (len(draws) * len(gold), labels))
    merged = merged.reshape(len(draws), len(gold), labels) / ensemble.temperature + ensemble.bias
    right = np.stack([right_rows(own, gold, ensemble.threshold) for own in merged])
    more = right_rows(left_out, gold, ensemble.threshold) if len(left_out) else mean_known(right[DRAWS:])
    folds = fold_count(context) if len(left_out) else FOLDS
    found = figures(right[:DRAWS], more, folds, text_weights(context, members))
    if gold.ndim == 1:
        return found
    said = np.where(np.isnan(merged[:DRAWS]), np.nan, sigmoid(merged[:DRAWS]) >= ensemble.threshold)
    return replace(found, micro_f1=mean_micro_f1(gold > 0, said))


def right_rows(merged: Array, gold: Array, threshold: float) -> Array:
    """Return 1.0 where a text gets the right label, or all its labels, 0.0 where it does not, NaN without scores.

    Parameters
    ----------
    merged : log-probabilities, shape (n, L); or log-odds, if a text may have several labels
    gold : label of each text, shape (n,); or 0 and 1 for each label, shape (n, L)
    threshold : probability from which one of several labels applies
    """
    if gold.ndim == 2:
        right = ((sigmoid(merged) >= threshold) == (gold > 0)).all(axis=1)
    else:
        right = merged.argmax(axis=1) == gold
    return np.where(np.isnan(merged).any(axis=1), np.nan, right)


def figures(right: Array, more: Array, folds: int, weights: Array) -> Halves:
    """Return the estimate.

    Parameters
    ----------
    right : 1 where a draw labels a text correctly, 0 where it does not, NaN where it learned from the text; shape
        (draws, n)
    more : the same of members that learned from all texts but a fold, shape (n,)
    folds : number of folds
    weights : how much each text counts, shape (n,)

    Examples
    --------
    >>> right = np.array([[1, 0, np.nan, np.nan], [np.nan, np.nan, 1, 1]])
    >>> found = figures(right, np.ones(4), folds=4, weights=np.ones(4))
    >>> found.accuracy, found.judged, found.gain.texts, found.gain.difference
    (0.75, 4, 1, 0.25)
    """
    share = mean_known(right)
    known = ~np.isnan(share)
    accuracy, size = float(np.average(share[known], weights=weights[known])), effective_size(weights[known])
    low, high = wilson(size * accuracy, size)
    gain, both = None, known & ~np.isnan(more)
    if both.any():
        steps, counts = (more - share)[both], weights[both]
        texts = max(1, round(len(share) * (1 / 2 - 1 / folds)))
        gain = Gain(texts, float(np.average(steps, weights=counts)), *mean_interval(steps, counts / counts.mean()))
    return Halves(len(right), len(share), int(known.sum()), accuracy, low, high, size, gain)


# ---- draws -------------------------------------------------------------------------------------


def _draws(context: RunContext) -> list[Array]:
    """Return which labeled texts the members of each draw learn from: halves, then all but a fold if there are such."""
    gold, seed = context.texts("train").labels, context.settings.seed
    halves = []
    for number in range(DRAWS):  # two draws share the texts between them
        fold = stratified_folds(gold, 2, derive_seed(seed, "halves", number // 2))
        halves.append(fold != number % 2)
    if learns_weights(context):
        return halves
    fold = stratified_folds(gold, FOLDS, derive_seed(seed, "halves"))
    return [*halves, *(fold != number for number in range(FOLDS))]


def draw_weights(members: Sequence[Member], ensemble: Ensemble) -> dict[str, float]:
    """Return the weight of each member in a draw, by name; a pattern stands for all, and weighs as much as they do."""
    weights: dict[str, float] = dict(zip(ensemble.names, ensemble.weights.tolist(), strict=True))
    patterns = [member.name for member in members if member.spec.kind == pattern.KIND]
    return weights | dict.fromkeys(patterns, sum(weights[name] for name in patterns))


def _scores(context: RunContext, draws: Sequence[Array], weights: dict[str, float]) -> Array:
    """Return the merged scores of each draw: shape (draws, n, L), with NaN for texts that it learned from."""
    train = context.texts("train")
    shared = replace(context.shared, recipe=half_recipe(context.recipe))
    out = np.full((len(draws), len(train), len(context.task.labels)), np.nan)
    with context.reporter.task("estimate the accuracy from labeled texts", len(draws), "draw") as bar:
        for number, kept in enumerate(draws):
            rows = np.flatnonzero(~kept)
            if len(rows):
                out[number, rows] = _merged(context, shared, kept, number, weights)[rows]
            bar.update(1)
    context.shared.models.forget()
    return out


def _merged(context: RunContext, shared: Shared, kept: Array, number: int, weights: dict[str, float]) -> Array:
    """Train members on some labeled texts, and return their merged scores of all of them."""
    total = np.zeros((len(kept), len(context.task.labels)))
    for spec in _specs(context, number):
        if KINDS[spec.kind].trains:
            own = _trained_scores(context, shared, spec, kept)
        else:
            (own,) = member_scores(context, [Member(spec)], "train")
        scores = np.asarray(own, dtype=np.float64)
        total += weights[spec.name] * np.nan_to_num(scores if context.task.multi_label else log_softmax(scores))
    return total


def _specs(context: RunContext, number: int) -> Iterator[MemberSpec]:
    """Yield the members of a draw: one pattern, and all that take no time."""
    patterns = [spec for spec in context.specs if spec.kind == pattern.KIND]
    yield patterns[number % len(patterns)]
    yield from (spec for spec in context.specs if KINDS[spec.kind].evidence in ("refit", "given"))


def _trained_scores(context: RunContext, shared: Shared, spec: MemberSpec, kept: Array) -> Array:
    train, rows = context.texts("train"), np.flatnonzero(kept)
    pool = context.texts("pool") if context.has("pool") and spec.kind != pattern.KIND else None
    scorer = make_scorer(spec, shared, derive_seed(context.settings.seed, "halves", spec.name))
    out = np.empty((len(train), len(context.task.labels)), dtype=np.float32)
    with Scratch() as scratch:
        folder = scratch / "member"
        folder.mkdir()
        gold = train.labels[rows]
        data = MemberData([(train, rows)], gold.astype(np.float32) if gold.ndim == 2 else gold, pool)
        fit_scorer(spec, scorer, data, folder)
        scorer.scores(train, out)
    return out
