"""The class ratio of a run: from the setting ``prior`` to the bias of the ensemble."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.data.pick import evenly_spaced
from pet.data.table_format import TableFormat
from pet.embeddings.logistic import cross_fit
from pet.ensemble.class_ratio import (
    AUTO,
    BALANCED,
    ESTIMATED,
    LABELED,
    NONE,
    WORDS,
    ClassRatio,
    GivenRatio,
    check_label_shares,
    is_even,
    parse_label_shares,
    parse_shares,
    read_prior,
    shares_text,
)
from pet.ensemble.combine import Ensemble
from pet.ensemble.ratio_estimate import estimate_ratio, mean_ratio
from pet.ensemble.settings import NOT_CALIBRATED
from pet.errors import PetError
from pet.members import untrained
from pet.members.kinds import KINDS, open_scorer
from pet.members.seam import Scorer
from pet.members.shared import Shared
from pet.members.texts import Texts
from pet.numerics import mean_known, softmax
from pet.recipe import Recipe, make_recipe
from pet.run.context import RunContext
from pet.run.held_out import learns_weights
from pet.run.settings import RunSettings
from pet.run.stages import Member, member_scores, trained_members
from pet.store.schema import list_of, number, record
from pet.task.task import Task

Array = NDArray[Any]
STAGE = "g0/ratio"
FILE = "ratio.json"
SAMPLE = 1000  # texts of the pool that are enough for a warning, or to see the bias of untrained patterns
_FEWEST = 4  # texts of the pool for each label, below which a correction uses no pool (benchmarks/README.md)
_ESTIMATE_ROWS = 10_000  # texts of the pool that are embedded for an estimate


def resolve_prior(settings: RunSettings, task: Task) -> tuple[RunSettings, GivenRatio | None]:
    """Check the setting ``prior``, and replace the name of a file by the shares in it, so that a run can be repeated.

    Raises
    ------
    PetError
        If it is none of the words, names other labels than the task, or requires texts that the run does not have.
    """
    prior = make_recipe(settings.recipe, settings.settings).merging.prior
    if task.multi_label:
        check_label_shares(prior, task)
        return settings, None
    if prior == ESTIMATED and (not settings.has_labels or settings.unlabeled is None or not settings.trains_members):
        raise PetError(
            "prior=estimated compares predictions for labeled and for unlabeled texts; give --train and --unlabeled "
            "and use a method that trains members, or give the shares"
        )
    found = read_prior(
        prior,
        task.labels,
        task.label_map,
        columns={**task.columns, **settings.columns},
        table_format=TableFormat(**settings.table_format),
    )
    if found is None or found.source is None:
        return settings, None
    return replace(settings, settings={**settings.settings, "prior": shares_text(found.shares, task.labels)}), found


def target_ratio(context: RunContext, members: Sequence[Member]) -> Array | None:
    """Return the class ratio to which the scores of these members are corrected, shape (L,); None: not at all.

    If texts may have several labels, it is the share of the texts that have each label. The shares need not add up
    to 1 then.
    """
    count, prior = len(context.task.labels), context.recipe.merging.prior
    if context.task.multi_label:
        return _target_shares(context, members)
    calibrated = context.recipe.merging.calibration != NOT_CALIBRATED
    if prior == NONE or (prior == AUTO and (calibrated or not _has_untrained(members))):
        return None
    if prior == ESTIMATED:
        return estimated_ratio(context).shares
    if prior == LABELED and context.has("train"):
        return labeled_ratio(context)
    if prior in (AUTO, BALANCED, LABELED):
        return np.full(count, 1 / count)
    return parse_shares(prior, context.task.labels, context.task.label_map)


def labeled_ratio(context: RunContext) -> Array:
    """Return the label shares of the labeled texts; every label gets one more, so that none is impossible."""
    gold = context.texts("train").labels
    if context.task.multi_label:
        return np.asarray((gold.sum(axis=0) + 1) / (len(gold) + 2))
    counts = np.bincount(gold, minlength=len(context.task.labels)) + 1
    return np.asarray(counts / counts.sum())


def relative_ratio(context: RunContext, members: Sequence[Member]) -> Array | None:
    """Return the class ratio of the texts to label, relative to that of the labeled ones, shape (L,); None: the same.

    It is None if texts may have several labels, too, because one label then says nothing about the others.
    """
    target = None if context.task.multi_label or not context.has("train") else target_ratio(context, members)
    return None if target is None else target / labeled_ratio(context)


def text_weights(context: RunContext, members: Sequence[Member]) -> Array:
    """Return how much each labeled text counts in figures about texts with the class ratio that the run corrects to.

    Returns
    -------
    float64 array of shape (n,), with a mean of 1
    """
    gold, ratio = context.texts("train").labels, relative_ratio(context, members)
    if ratio is None:
        return np.ones(len(gold))
    return np.asarray(ratio[gold] / ratio[gold].mean())


def _target_shares(context: RunContext, members: Sequence[Member]) -> Array | None:
    """Return the same if texts may have several labels; without any knowledge, a text has one on average."""
    labels, prior = context.task.labels, context.recipe.merging.prior
    if prior == NONE or (prior == AUTO and not _has_untrained(members)):
        return None
    if prior == LABELED and context.has("train"):
        return labeled_ratio(context)
    if prior in (AUTO, BALANCED, LABELED):
        return np.full(len(labels), 1 / len(labels))
    return parse_label_shares(prior, labels, context.task.label_map)


def _has_untrained(members: Sequence[Member]) -> bool:
    return any(member.spec.kind == untrained.KIND for member in members)


# ---- the correction ----------------------------------------------------------------------------


def corrected(
    context: RunContext, members: Sequence[Member], ensemble: Ensemble, scores: Sequence[Array], target: Array
) -> Ensemble:
    """Return the ensemble with the correction to a class ratio.

    A few texts need not have that ratio: a single one would get it as its probabilities. They are corrected as if there
    were no pool.

    Parameters
    ----------
    context : a run with a pool
    members, ensemble : whose scores are corrected
    scores : of each member, for the pool
    target : class ratio, shape (L,)
    """
    if not _is_large(context) and (_has_untrained(members) or context.has("train")):
        return _corrected_without(context, members, ensemble, target)
    return ensemble.corrected(scores, target)


def corrected_alone(context: RunContext, members: Sequence[Member], ensemble: Ensemble) -> Ensemble:
    """Return the ensemble with the correction that the recipe asks for, if its members did not score the pool.

    Untrained patterns score a sample of the pool, or texts without content if there is no pool or a small one. Trained
    members are assumed to predict in the ratio of the labeled texts.
    """
    target = target_ratio(context, members)
    if target is None:
        return ensemble
    if not (_has_untrained(members) and _is_large(context)):
        return _corrected_without(context, members, ensemble, target)
    scorers = _opened(context, members)
    texts = pool_sample(context, SAMPLE)
    scores = []
    with context.reporter.task("score a sample of the pool", len(texts) * len(scorers), "score") as bar:
        for scorer in scorers:
            out = np.empty((len(texts), len(target)), dtype=np.float32)
            scorer.scores(texts, out, bar.update)
            scores.append(out)
    context.shared.models.forget()
    return ensemble.corrected(scores, target)


def _corrected_without(context: RunContext, members: Sequence[Member], ensemble: Ensemble, target: Array) -> Ensemble:
    """Return the ensemble with a correction that needs no pool."""
    if not _has_untrained(members):
        return shifted(context, ensemble, target)
    found = without_bias(ensemble, _opened(context, members), context.shared, target)
    context.shared.models.forget()
    return found


def _opened(context: RunContext, members: Sequence[Member]) -> list[Scorer]:
    return [open_scorer(context.directory.path / member.stage, context.shared) for member in members]


def _is_large(context: RunContext) -> bool:
    """Return True if the mean prediction over the pool says more about the members' bias than texts without content."""
    return context.has("pool") and len(context.texts("pool")) >= _FEWEST * len(context.task.labels)


def shifted(context: RunContext, ensemble: Ensemble, target: Array) -> Ensemble:
    """Return an ensemble of members that learned the ratio of the labeled texts, corrected to another one.

    By Bayes' rule, the bias is log(target / labeled ratio) (Saerens et al. 2002, Neural Computation 14).
    """
    drawn = labeled_ratio(context)
    bias = np.log(target) - np.log(drawn)
    if context.task.multi_label:
        bias -= np.log1p(-target) - np.log1p(-drawn)
    return replace(ensemble, bias=bias)


def without_bias(ensemble: Ensemble, scorers: Sequence[Scorer], shared: Shared, target: Array) -> Ensemble:
    """Return an ensemble whose untrained patterns give a text without content the probabilities `target`.

    Other members count as abstaining, so the correction is too large for texts that they do not abstain on.
    """
    plain = replace(ensemble, bias=np.zeros(len(target)))
    bias = np.log(target) - plain.merge(untrained.null_scores(scorers, shared))[0]
    if ensemble.independent:
        return replace(ensemble, bias=bias - np.log1p(-target))
    return replace(ensemble, bias=bias - bias.mean())


def untrained_target(recipe: Recipe, task: Task) -> Array | None:
    """Return the ratio for untrained patterns without a run; None: no correction."""
    prior = recipe.merging.prior
    if prior == NONE or (prior == AUTO and recipe.merging.calibration != NOT_CALIBRATED):
        return None
    if prior in WORDS:
        return np.full(len(task.labels), 1 / len(task.labels))
    if task.multi_label:
        return parse_label_shares(prior, task.labels, task.label_map)
    return parse_shares(prior, task.labels, task.label_map)


# ---- estimates ---------------------------------------------------------------------------------


def pool_sample(context: RunContext, most: int) -> Texts:
    """Return at most this many evenly spaced texts of the pool."""
    pool = context.texts("pool")
    if len(pool) <= most:
        return pool
    return Texts(evenly_spaced(pool.table, most), lambda: context.shared.plan)


def estimated_ratio(context: RunContext) -> ClassRatio:
    """Estimate the class ratio of the pool from the scores of the first generation of members; a stage of the run."""

    def build(folder: Path) -> dict[str, Any]:
        found = _estimate(context, _ESTIMATE_ROWS if context.recipe.merging.prior == ESTIMATED else SAMPLE)
        # Rounded, because the last digits of linear algebra differ between processes.
        about = {name: [round(float(value), 6) for value in values] for name, values in found._asdict().items()}
        (folder / FILE).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        return about

    scores = [context.directory.fingerprint(f"{member.stage}/scores") for member in trained_members(context)]
    context.directory.stage(STAGE, {"config": context.config_hash, "scores": scores}, build, files=[FILE])
    labels = len(context.task.labels)
    shares = list_of(number(0, 1), labels, labels, per="one per label")
    about = context.directory.info(STAGE, record(dict.fromkeys(ClassRatio._fields, shares)))
    return ClassRatio(*(np.asarray(about[name]) for name in ClassRatio._fields))


def _estimate(context: RunContext, rows: int) -> ClassRatio:
    """Estimate the class ratio from at most this many texts of the pool; see `pet.ensemble.ratio_estimate`.

    It is the mean of the estimates by several kinds of members.
    """
    members = trained_members(context)
    step = -(-len(context.texts("pool")) // rows)
    pool = [softmax(scores[::step]) for scores in member_scores(context, members, "pool")]
    predicted = mean_known(np.stack([mean_known(own) for own in pool]))
    evidence = _of_members(context, members, pool) if learns_weights(context) else [_of_embeddings(context, rows)]
    gold, as_drawn = context.texts("train").labels, drawn_at_random(context)
    found = [estimate_ratio(train, gold, own, as_drawn=as_drawn, start=predicted) for train, own in evidence]
    return mean_ratio(found)


def _of_members(context: RunContext, members: Sequence[Member], pool: Sequence[Array]) -> list[tuple[Array, Array]]:
    """Return, for each kind of member, predictions for labeled texts that members left out, and for the pool.

    The two compare because each is a mean over members.
    """
    found = []
    for kind in sorted(
        {member.spec.kind for member in members if KINDS[member.spec.kind].evidence in ("fold", "refit")}
    ):
        places = [place for place, member in enumerate(members) if member.spec.kind == kind]
        scores = member_scores(context, [members[place] for place in places], "train")
        train = mean_known(np.stack([softmax(own) for own in scores]))
        found.append((np.log(train), mean_known(np.stack([pool[place] for place in places]))))
    return found


def _of_embeddings(context: RunContext, rows: int) -> tuple[Array, Array]:
    """Return predictions of logistic regression on embeddings for labeled texts, each left out, and for the pool."""
    train, pool, labels = context.texts("train"), pool_sample(context, rows), len(context.task.labels)
    predictions, models = cross_fit(context.shared.vectors(train), train.labels, labels, context.settings.seed)
    vectors = context.shared.vectors(pool)
    context.shared.models.forget()
    if not models:
        return predictions, np.full((len(pool), labels), 1 / labels)
    return predictions, np.mean([np.exp(model.log_probabilities(vectors)) for model in models], axis=0)


def drawn_at_random(context: RunContext) -> bool:
    """Return True if the ratio of the labeled texts may be that of the pool: nobody balanced them."""
    settings = context.settings
    balanced = settings.shots is not None or (settings.examples is not None and settings.balanced)
    gold = context.texts("train").labels
    counts = gold.sum(axis=0) if gold.ndim == 2 else np.bincount(gold, minlength=len(context.task.labels))
    return not balanced and not is_even(counts)
