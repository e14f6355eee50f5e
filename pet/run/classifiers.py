"""The stages that train a classifier: the student, and the supervised baseline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from pet.ensemble.soft_labels import read_probabilities
from pet.evaluate import evaluate
from pet.members.texts import Texts
from pet.numerics import softmax
from pet.run.context import RunContext
from pet.seeds import derive_seed
from pet.student.classifier import new_classifier
from pet.student.distill import fit_classifier, one_hot
from pet.training.loop import Schedule

if TYPE_CHECKING:
    from datasets import Dataset

Array = NDArray[Any]
TEST_LOGITS = "test-logits.npy"


@dataclass(frozen=True)
class Fit:
    """How one classifier is trained.

    Attributes
    ----------
    kind : ``student`` or ``supervised``; seeds and messages depend on it
    schedule : updates
    batch : texts of a micro-batch
    temperature : of the distillation; None: plain cross-entropy
    gold : labeled texts that are mixed in, and their labels
    gold_weight : their share of the loss
    """

    kind: str
    schedule: Schedule
    batch: int
    temperature: float | None = None
    gold: tuple[Dataset, Array] | None = None
    gold_weight: float = 0.0


def make_student(context: RunContext, labels_stage: str, generation: int = 0, prefix: str = "") -> str:
    """Distill soft labels of the pool into a classifier in ``student/``.

    Parameters
    ----------
    context : the run
    labels_stage : the stage of the soft labels
    generation : the one that they are of, for the manifest
    prefix : of the student's stage

    Returns
    -------
    The stage that was made.
    """
    pool, recipe = context.texts("pool"), context.recipe

    def build(folder: Path) -> dict[str, Any]:
        probabilities = read_probabilities(context.directory.path / f"{labels_stage}.parquet")
        gold = None
        if context.has("train"):
            gold = (context.texts("train").table, context.texts("train").labels)
        how = Fit(
            "student",
            Schedule.of(recipe.optimizer, recipe.student, recipe.student.learning_rate),
            recipe.student.batch,
            recipe.student.temperature,
            gold,
            recipe.student.gold_weight,
        )
        losses = _fit(context, how, pool, probabilities, folder, prefix)
        return {"losses": losses, "generation": generation}

    inputs = {"config": context.config_hash, "labels": context.directory.fingerprint(labels_stage)}
    context.directory.stage(f"{prefix}student", inputs, build)
    return f"{prefix}student"


def make_supervised(context: RunContext, prefix: str = "") -> str:
    """Train a plain classifier on the labeled examples alone; the stage that was made."""
    train, recipe = context.texts("train"), context.recipe

    def build(folder: Path) -> dict[str, Any]:
        targets = one_hot(train.labels, len(context.task.labels))
        schedule = Schedule.of(recipe.optimizer, recipe.supervised, recipe.student.learning_rate)
        how = Fit("supervised", schedule, recipe.supervised.batch)
        return {"losses": _fit(context, how, train, targets, folder, prefix)}

    context.directory.stage(f"{prefix}student", {"config": context.config_hash}, build)
    return f"{prefix}student"


def _fit(context: RunContext, how: Fit, texts: Texts, targets: Array, folder: Path, prefix: str) -> list[float]:
    """Train a fresh classifier, save it, and score the test texts with it; its losses."""
    seed, label = derive_seed(context.settings.seed, how.kind), f"{prefix}{how.kind}"
    torch.manual_seed(derive_seed(seed, "head"))
    classifier = new_classifier(
        context.shared.head_model,
        context.shared.text_input,
        context.task.labels,
        context.recipe.encoding.max_length,
        allow_pickle=context.settings.allow_pickle,
    )
    with context.reporter.task(f"train {label}", how.schedule.steps) as bar:
        losses = fit_classifier(
            classifier, texts.table, targets, how.schedule, context.shared.accelerator,
            seed=seed, batch_size=how.batch, temperature=how.temperature, gold=how.gold,
            gold_weight=how.gold_weight, on_step=lambda _, loss: bar.update(loss=loss),
        )  # fmt: skip
    classifier.save(folder)
    if context.has("test"):
        test = context.texts("test").table
        with context.reporter.task(f"score test with {label}", len(test), "text") as bar:
            scores = classifier.scores(
                test,
                context.shared.accelerator,
                max_tokens=context.recipe.inference.tokens,
                exact=True,  # the figures are those of `pet evaluate`
                on_rows=bar.update,
            )
        np.save(folder / TEST_LOGITS, scores)
    return losses


def evaluate_classifier(context: RunContext, stage: str) -> dict[str, Any]:
    """Figures of a saved classifier on the test texts; empty without a test set."""
    if not context.has("test"):
        return {}
    scores = np.load(context.directory.path / stage / TEST_LOGITS)
    return evaluate(softmax(scores), context.texts("test").labels, context.task.labels)
