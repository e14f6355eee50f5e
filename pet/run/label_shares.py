"""The share of the unlabeled texts that have each label, if a text may have several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.data.folds import stratified_folds
from pet.embeddings.one_vs_rest import fit_one_vs_rest
from pet.ensemble.class_ratio import ClassRatio
from pet.ensemble.ratio_estimate import estimate_ratio, mean_ratio
from pet.members.kinds import KINDS
from pet.numerics import mean_known, sigmoid
from pet.run.class_ratio import SAMPLE, drawn_at_random, pool_sample
from pet.run.context import RunContext
from pet.run.held_out import learns_weights
from pet.run.stages import Member, member_scores

Array = NDArray[Any]
_FOLDS = 5
_SURE = 1e-6  # no decision is surer than this


def estimated_label_shares(context: RunContext, members: Sequence[Member]) -> ClassRatio:
    """Estimate the share of the unlabeled texts that have each label; the shares need not add up to 1.

    Each decision about a label is corrected by how often it is wrong about labeled texts that members left out, as in
    `pet.ensemble.ratio_estimate`.

    Parameters
    ----------
    context : a run with labeled and unlabeled texts
    members : of its first generation, which learned from labeled texts only

    Returns
    -------
    ClassRatio
    """
    gold = context.texts("train").labels > 0
    evidence = list(_of_members(context, members) if learns_weights(context) else _of_embeddings(context))
    as_drawn = drawn_at_random(context)
    found = []
    for label in range(gold.shape[1]):
        ratios = [
            estimate_ratio(
                np.log(_both(train[:, label])),
                gold[:, label].astype(np.int64),
                _both(pool[:, label]),
                as_drawn=as_drawn,
            )
            for train, pool in evidence
        ]
        found.append(mean_ratio(ratios))
    return ClassRatio(*(np.round([part[1] for part in parts], 6) for parts in zip(*found, strict=True)))


def _both(share: Array) -> Array:
    """Return the probabilities that a label does not apply, and that it does."""
    own = np.clip(share, _SURE, 1 - _SURE)
    return np.stack([1 - own, own], axis=1)


def _of_members(context: RunContext, members: Sequence[Member]) -> Iterator[tuple[Array, Array]]:
    """Yield probabilities of labeled texts that members left out, and of the pool, for each kind of member."""
    step = -(-len(context.texts("pool")) // SAMPLE)
    kinds = {member.spec.kind for member in members}
    for kind in sorted(kind for kind in kinds if KINDS[kind].evidence in ("fold", "refit")):
        own = [member for member in members if member.spec.kind == kind]
        train = np.stack(
            [sigmoid(np.asarray(scores, dtype=np.float64)) for scores in member_scores(context, own, "train")]
        )
        pool = [sigmoid(np.asarray(scores[::step], dtype=np.float64)) for scores in member_scores(context, own, "pool")]
        yield mean_known(train), np.mean(pool, axis=0)


def _of_embeddings(context: RunContext) -> Iterator[tuple[Array, Array]]:
    """Yield the same by regressions on embeddings, each fitted without a fold of the labeled texts."""
    train, pool = context.texts("train"), pool_sample(context, SAMPLE)
    vectors, others = context.shared.vectors(train), context.shared.vectors(pool)
    context.shared.models.forget()
    gold = (train.labels > 0).astype(np.float64)
    fold = stratified_folds(train.labels, _FOLDS, context.settings.seed)
    own, of_pool = np.full(gold.shape, np.nan), []
    for number in range(fold.max() + 1):
        kept = fold != number
        if kept.any():
            model, _ = fit_one_vs_rest(vectors[kept], gold[kept], context.settings.seed)
            own[~kept] = sigmoid(model.scores(vectors[~kept]))
            of_pool.append(sigmoid(model.scores(others)))
    yield own, np.mean(of_pool, axis=0) if of_pool else np.full((len(pool), gold.shape[1]), 0.5)
