"""The member kind `head`: a sequence classifier fine-tuned on labeled texts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from pet.data.pick import pick_columns, pick_rows
from pet.ensemble.scale import Scale
from pet.members.seam import Array, MemberData, OnRows, OnStep, Report, ignore
from pet.members.shared import Shared
from pet.members.spec import MemberSpec, plain_spec
from pet.members.texts import Texts
from pet.recipe import Recipe
from pet.seeds import derive_seed
from pet.student.classifier import Classifier, load_classifier, new_classifier
from pet.student.distill import Distillation, fit_classifier, gold_targets
from pet.training.loop import Schedule
from pet.training.losses import class_weights

KIND = "head"
CHUNK_ROWS = 16384  # texts tokenized at a time


def parse(argument: str) -> MemberSpec:
    """Parse ``head``, which takes no argument."""
    return plain_spec(KIND, argument)


def steps(recipe: Recipe, rows: int) -> int:
    """Return the number of updates for `rows` labeled texts: at least ``min_epochs`` passes, as for other members."""
    size = recipe.supervised.batch * recipe.supervised.accumulation
    return max(recipe.supervised.steps, math.ceil(recipe.member.min_epochs * rows / size))


@dataclass
class HeadMember:
    """A sequence classifier with the settings of ``supervised``.

    Attributes
    ----------
    spec, shared, seed, folder : see `pet.members.pattern.PatternMember`
    """

    spec: MemberSpec
    shared: Shared
    seed: int = 0
    scale: Scale = Scale.LOGITS
    folder: Path | None = None
    _classifier: Classifier | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.spec.name

    def fit(self, data: MemberData, folder: Path, on_step: OnStep = ignore) -> Report:
        """Train a new classifier and save it as a ``save_pretrained`` folder."""
        shared, recipe = self.shared, self.shared.recipe
        shared.models.release()
        table = datasets.concatenate_datasets(
            [pick_columns(pick_rows(texts.table, rows), shared.task.fields) for texts, rows in data.parts]
        )
        targets = gold_targets(data.labels, len(shared.task.labels))
        if recipe.member.weights_labels:
            targets = targets * class_weights(data.labels, len(shared.task.labels))  # the loss is linear in them
        classifier = new_classifier(
            shared.head_model or shared.models.info.name,
            shared.text_input,
            shared.task.labels,
            recipe.encoding.max_length,
            seed=derive_seed(self.seed, "head"),
            allow_pickle=shared.models.info.allow_pickle,
            independent=shared.task.multi_label,
        )
        rate, updates = recipe.student.learning_rate, steps(recipe, len(targets))
        schedule = Schedule.of(recipe.optimizer, recipe.supervised, rate, updates)
        how = Distillation(schedule, recipe.supervised.batch, seed=self.seed)
        losses = fit_classifier(classifier, table, targets, how, shared.accelerator, on_step=on_step)
        classifier.save(folder)
        self.folder = folder
        return Report(len(targets), losses, sum(p.numel() for p in classifier.model.parameters()))

    def load(self) -> None:
        """See `pet.members.seam.Scorer.load`."""
        if self._classifier is None and self.folder is not None:
            self._classifier = load_classifier(str(self.folder), independent=self.shared.task.multi_label)

    def __getstate__(self) -> dict[str, Any]:
        if self._classifier is not None:
            self._classifier.model.to("cpu")  # so that it can be unpickled on a machine without this device
        return dict(vars(self))

    def scores(self, texts: Texts, out: Array, on_rows: OnRows = ignore) -> None:
        """See `pet.members.seam.Scorer.scores`."""
        self.load()
        if self._classifier is None:
            raise ValueError(f"member {self.name} must be fitted before it scores")
        for start in range(0, len(texts), CHUNK_ROWS):
            rows = np.arange(start, min(start + CHUNK_ROWS, len(texts)))
            out[rows] = self._classifier.scores(
                pick_rows(texts.table, rows),
                self.shared.accelerator,
                max_tokens=self.shared.recipe.inference.tokens,
                on_rows=on_rows,
            )
