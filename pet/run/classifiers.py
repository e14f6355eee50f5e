"""The stages that train a classifier: the student and the supervised baseline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.ensemble.soft_labels import read_probabilities
from pet.evaluate import evaluate
from pet.members.texts import Texts
from pet.numerics import softmax
from pet.run.context import RunContext
from pet.run.stages import read_scores
from pet.seeds import derive_seed
from pet.student.classifier import new_classifier
from pet.student.distill import Distillation, Gold, fit_classifier, one_hot
from pet.training.loop import Schedule

Array = NDArray[Any]
TEST_LOGITS = "test-logits.npy"


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


def make_student(context: RunContext, labels_stage: str, generation: int = 0, prefix: str = "") -> str:
    """Distill soft labels of the pool into a classifier in ``student/``.

    Parameters
    ----------
    context : the run
    labels_stage : stage of the soft labels
    generation : their generation, for the manifest
    prefix : prefix of the student's stage

    Returns
    -------
    str: the name of the stage
    """
    pool, recipe = context.texts("pool"), context.recipe

    def build(folder: Path) -> dict[str, Any]:
        probabilities = read_probabilities(context.directory.path / f"{labels_stage}.parquet")
        gold = None
        if context.has("train"):
            gold = (context.texts("train").table, context.texts("train").labels)
        how = Distillation(
            Schedule.of(recipe.optimizer, recipe.student, recipe.student.learning_rate),
            recipe.student.batch,
            recipe.student.temperature,
            recipe.student.gold_weight,
            derive_seed(context.settings.seed, "student"),
        )
        losses = _fit(context, how, Examples(pool, probabilities, gold), folder, f"{prefix}student")
        return {"losses": losses, "generation": generation}

    inputs = {"config": context.config_hash, "labels": context.directory.fingerprint(labels_stage)}
    context.directory.stage(f"{prefix}student", inputs, build)
    return f"{prefix}student"


def make_supervised(context: RunContext, prefix: str = "") -> str:
    """Train a classifier on the labeled examples only; return the name of the stage."""
    train, recipe = context.texts("train"), context.recipe

    def build(folder: Path) -> dict[str, Any]:
        targets = one_hot(train.labels, len(context.task.labels))
        schedule = Schedule.of(recipe.optimizer, recipe.supervised, recipe.student.learning_rate)
        seed = derive_seed(context.settings.seed, "supervised")
        how = Distillation(schedule, recipe.supervised.batch, seed=seed)
        return {"losses": _fit(context, how, Examples(train, targets), folder, f"{prefix}supervised")}

    context.directory.stage(f"{prefix}student", {"config": context.config_hash}, build)
    return f"{prefix}student"


def _fit(context: RunContext, how: Distillation, examples: Examples, folder: Path, label: str) -> list[float]:
    """Train a new classifier, save it, and score the test texts with it; return the losses."""
    classifier = new_classifier(
        context.shared.head_model,
        context.shared.text_input,
        context.task.labels,
        context.recipe.encoding.max_length,
        seed=derive_seed(how.seed, "head"),
        allow_pickle=context.settings.allow_pickle,
    )
    with context.reporter.task(f"train {label}", how.schedule.steps) as bar:
        losses = fit_classifier(
            classifier, examples.texts.table, examples.targets, how, context.shared.accelerator,
            gold=examples.gold, on_step=lambda _, loss: bar.update(loss=loss),
        )  # fmt: skip
    classifier.save(folder)
    if context.has("test"):
        test = context.texts("test").table
        with context.reporter.task(f"score test with {label}", len(test), "text") as bar:
            scores = classifier.scores(
                test,
                context.shared.accelerator,
                max_tokens=context.recipe.inference.tokens,
                exact=True,  # so that the figures equal those of `pet evaluate`
                on_rows=bar.update,
            )
        np.save(folder / TEST_LOGITS, scores)
    return losses


def evaluate_classifier(context: RunContext, stage: str) -> dict[str, Any]:
    """Return the figures of a saved classifier on the test texts; empty without a test set."""
    if not context.has("test"):
        return {}
    gold = context.texts("test").labels
    scores = read_scores(context.directory.path / stage / TEST_LOGITS, (len(gold), len(context.task.labels)))
    return evaluate(softmax(scores), gold, context.task.labels)
