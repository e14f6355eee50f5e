"""The stages that train a classifier: the student and the supervised baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import concatenate_datasets
from numpy.typing import NDArray

from pet.data.pick import pick_columns
from pet.ensemble.soft_labels import read_probabilities
from pet.evaluate_sets import HALF
from pet.members import pattern
from pet.members.texts import Texts
from pet.run.context import RunContext
from pet.run.merging import kept_ensemble, labels_stage, measure, probabilities_of
from pet.run.stages import Member, member_scores, read_scores
from pet.seeds import derive_seed
from pet.student.classifier import Classifier, new_classifier, read_threshold
from pet.student.distill import Distillation, Gold, gold_targets
from pet.student.rounds import fit_student
from pet.student.start import fit_output_layer, read_mask_first, take_encoder
from pet.training.loop import Schedule
from pet.training.settings import ORDINAL

Array = NDArray[Any]
SURE = 0.98  # probability of a label that a labeled text has, for a student of several labels per text
TEST_LOGITS = "test-logits.npy"
_COMPARED_ROWS = 20_000  # of the pool, when the member is chosen that a student starts from


@dataclass(frozen=True)
class Examples:
    """Training data of a classifier.

    Attributes
    ----------
    texts : the texts
    targets : their probabilities, shape (rows, L)
    gold : labeled texts that are mixed in
    """

    texts: Texts
    targets: Array
    gold: Gold | None = None


def make_student(context: RunContext, members: Sequence[Member], prefix: str = "") -> str:
    """Distill soft labels of the pool into a classifier in ``student/``.

    Parameters
    ----------
    context : the run
    members : their soft labels are distilled
    prefix : prefix of the student's stage

    Returns
    -------
    str: the name of the stage
    """
    pool, recipe, stage = context.texts("pool"), context.recipe, labels_stage(members)

    def build(folder: Path) -> dict[str, Any]:
        probabilities = read_probabilities(context.directory.path / f"{stage}.parquet")
        gold = None
        if context.has("train"):
            gold = (context.texts("train").table, context.texts("train").labels)
        how = Distillation(
            Schedule.of(recipe.optimizer, recipe.student, recipe.student.learning_rate),
            recipe.student.batch,
            recipe.student.temperature,
            recipe.student.gold_weight,
            derive_seed(context.settings.seed, "student"),
            recipe.student.rounds,
            recipe.student.loss == ORDINAL,
            recipe.student.fit_bias,
        )
        classifier = _new_classifier(context, how.seed)
        if classifier.independent:
            classifier.threshold = kept_ensemble(context, members).threshold
        if recipe.student.start == "member":
            start_student(context, classifier, probabilities, members, how.seed)
        examples = Examples(pool, probabilities, gold)
        if classifier.independent and gold is not None:
            examples = beside_labeled(examples, gold, context.task.fields)
        losses = _fit(context, how, examples, folder, f"{prefix}student", classifier)
        return {"losses": losses, "generation": members[0].generation}

    inputs = {"config": context.config_hash, "labels": context.directory.fingerprint(stage)}
    context.directory.stage(f"{prefix}student", inputs, build)
    return f"{prefix}student"


def beside_labeled(examples: Examples, gold: Gold, fields: Sequence[str]) -> Examples:
    """Add labeled texts to the unlabeled ones, as soft labels that are nearly sure.

    Parameters
    ----------
    examples : unlabeled texts and their soft labels
    gold : labeled texts, with 0 or 1 for each label
    fields : columns of the texts
    """
    table, labels = gold
    tables = [pick_columns(part, ["id", *fields]) for part in (examples.texts.table, table)]
    sure = np.clip(gold_targets(labels, examples.targets.shape[1]), 1 - SURE, SURE)
    targets = np.concatenate([np.asarray(examples.targets), sure])
    return Examples(Texts(concatenate_datasets(tables)), targets, gold)


def make_supervised(context: RunContext, prefix: str = "") -> str:
    """Train a classifier on the labeled examples only; return the name of the stage."""
    train, recipe = context.texts("train"), context.recipe

    def build(folder: Path) -> dict[str, Any]:
        targets = gold_targets(train.labels, len(context.task.labels))
        schedule = Schedule.of(recipe.optimizer, recipe.supervised, recipe.student.learning_rate)
        seed = derive_seed(context.settings.seed, "supervised")
        how = Distillation(schedule, recipe.supervised.batch, seed=seed)
        classifier = _new_classifier(context, seed)
        return {"losses": _fit(context, how, Examples(train, targets), folder, f"{prefix}supervised", classifier)}

    context.directory.stage(f"{prefix}student", {"config": context.config_hash}, build)
    return f"{prefix}student"


def _new_classifier(context: RunContext, seed: int) -> Classifier:
    return new_classifier(
        context.shared.head_model,
        context.shared.text_input,
        context.task.labels,
        context.recipe.encoding.max_length,
        seed=derive_seed(seed, "head"),
        allow_pickle=context.settings.allow_pickle,
        independent=context.task.multi_label,
    )


def start_student(
    context: RunContext, classifier: Classifier, probabilities: Array, members: Sequence[Member], seed: int
) -> None:
    """Give a new student what the members know; see `pet.student.start`.

    Parameters
    ----------
    context : the run
    classifier : a new classifier
    probabilities : soft labels of the pool, shape (rows, L)
    members : which made them
    seed : random seed of the student
    """
    member = _closest_member(context, probabilities, members)
    if member is not None and context.shared.head_model == context.settings.model:
        take_encoder(classifier, context.shared.models.member(context.directory.path / member.stage).model)
        context.shared.models.forget()
    pool = context.texts("pool").table
    read_mask_first(classifier, pool)
    tokens = context.recipe.inference.tokens
    fit_output_layer(classifier, pool, probabilities, context.shared.accelerator, seed=seed, max_tokens=tokens)


def _closest_member(context: RunContext, probabilities: Array, members: Sequence[Member]) -> Member | None:
    """Return the pattern whose own labels of the pool agree most with the soft labels; None if none was trained."""
    patterns = [member for member in members if member.spec.kind == pattern.KIND]
    if context.recipe.tuning.method != "full" or not patterns:
        return None
    rows = slice(0, _COMPARED_ROWS)
    scores = member_scores(context, patterns, "pool")
    if context.task.multi_label:
        said = probabilities[rows] >= HALF
        agreement = [float(((np.asarray(own[rows]) >= 0) == said).mean()) for own in scores]
    else:
        merged = probabilities[rows].argmax(axis=1)
        agreement = [float((np.asarray(own[rows]).argmax(axis=1) == merged).mean()) for own in scores]
    return patterns[int(np.argmax(agreement))]


def _fit(
    context: RunContext, how: Distillation, examples: Examples, folder: Path, label: str, classifier: Classifier
) -> list[float]:
    """Train a classifier, save it, and score the test texts with it; return the losses."""
    losses = fit_student(
        classifier, examples.texts.table, examples.targets, how, context.shared.accelerator, context.reporter,
        gold=examples.gold, label=label,
    )  # fmt: skip
    classifier.save(folder)
    if context.has("test"):
        test, exact = context.texts("test").table, replace(context.shared.accelerator, precision="fp32")
        classifier.only_score(exact)
        with context.reporter.task(f"score test with {label}", len(test), "text") as bar:
            scores = classifier.scores(
                test,
                exact,  # so that the figures equal those of `pet evaluate`
                max_tokens=context.recipe.inference.tokens,
                on_rows=bar.update,
            )
        np.save(folder / TEST_LOGITS, scores)
    return losses


def evaluate_classifier(context: RunContext, stage: str) -> dict[str, Any]:
    """Return the figures of a saved classifier on the test texts; empty without a test set."""
    if not context.has("test"):
        return {}
    gold, scores = context.texts("test").labels, _test_scores(context, stage)
    return measure(context, probabilities_of(context, scores), gold, threshold=_threshold(context, stage))


def predictions_of(context: RunContext, stage: str) -> Array:
    """Return the label that a saved classifier predicts for each test text: int array of shape (rows,).

    If texts may have several labels, return which labels each has: bool array of shape (rows, L).
    """
    scores = _test_scores(context, stage)
    if context.task.multi_label:
        return np.asarray(probabilities_of(context, scores) >= _threshold(context, stage))
    return np.asarray(scores.argmax(axis=1))


def _test_scores(context: RunContext, stage: str) -> Array:
    shape = len(context.texts("test")), len(context.task.labels)
    return read_scores(context.directory.path / stage / TEST_LOGITS, shape)


def _threshold(context: RunContext, stage: str) -> float:
    """Return the probability from which a saved classifier gives a label, if a text may have several."""
    return read_threshold(context.directory.path / stage)
