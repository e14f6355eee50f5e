"""Train a sequence classifier: a student on soft labels, or a plain classifier on gold labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pet.backbones.sequence import SequenceLogits
from pet.backbones.used_words import only_used_words
from pet.cloze.ragged import Encoded, Ragged
from pet.data.pick import Picked, pick_rows
from pet.process import seeded
from pet.seeds import derive_seed
from pet.student.classifier import Classifier, encode_texts
from pet.training.batching import SHUFFLED, draw_some, pad_rows, shuffled_batches, to_tensors
from pet.training.device import Accelerator
from pet.training.loop import Schedule, train
from pet.training.losses import (
    distillation_loss,
    independent_distillation_loss,
    ordinal_distillation_loss,
    soft_cross_entropy,
)

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

Array = NDArray[Any]
OnStep = Callable[[int, "float | None"], None]


class Targets(Protocol):
    """Probabilities of all texts: an array of shape (rows, L), or an object that looks up those of some rows."""

    def __getitem__(self, rows: Any, /) -> Any:
        """Return the probabilities of some rows, shape (some rows, L)."""


@dataclass(frozen=True)
class Distillation:
    """How to train a classifier.

    Attributes
    ----------
    schedule : updates, learning rate, micro-batches per update
    batch : rows with soft labels per micro-batch
    temperature : distillation temperature; None: cross-entropy with the targets
    gold_weight : weight of the gold rows' loss, between 0 and 1
    seed : random seed, for the order of rows and dropout
    ordinal : a label is the more wrong the farther it is from the right one
    rounds : at most so many trainings, one after the other; see `pet.student.rounds`
    fit_bias : in the end, shift the scores if labels are not as frequent as in the targets; see `pet.student.bias`
    """

    schedule: Schedule
    batch: int
    temperature: float | None = None
    gold_weight: float = 0.0
    seed: int = 0
    rounds: int = 1
    ordinal: bool = False
    fit_bias: bool = False

    def gold_batch(self, gold: Gold | None) -> int:
        """Return the number of gold rows per micro-batch."""
        rows = 0 if gold is None or self.gold_weight <= 0 else len(gold[1])
        return min(rows, max(1, self.batch // 4))


_CERTAIN = 1e-6  # a probability of an independent label that is closer to 0 or 1 counts as this

Gold = tuple[
    "Dataset", Array
]  # texts, and their label indices, shape (rows,), or 0 and 1 for each label, shape (rows, L)


class StudentObjective(nn.Module):
    """Loss of a micro-batch: distillation on rows with soft labels, cross-entropy on gold rows.

    Parameters
    ----------
    model : sequence classifier
    temperature : distillation temperature; None: cross-entropy with the targets
    gold_weight : weight of the gold rows' cross-entropy
    independent : whether each label applies or not, whatever the others do
    ordinal : whether labels are in an order
    """

    def __init__(
        self,
        model: PreTrainedModel,
        temperature: float | None,
        gold_weight: float,
        *,
        independent: bool = False,
        ordinal: bool = False,
    ):
        super().__init__()
        self.model = model
        self.logits = SequenceLogits(model)
        self.independent = independent
        self.distillation_loss = ordinal_distillation_loss if ordinal else distillation_loss
        self.temperature = temperature
        self.gold_weight = gold_weight

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        logits = self.logits(batch).float()
        targets, soft = batch["targets"], len(batch["targets"]) - len(batch["gold"])
        cross_entropy = F.binary_cross_entropy_with_logits if self.independent else soft_cross_entropy
        if self.temperature is None:
            loss = cross_entropy(logits[:soft], targets[:soft])
        elif self.independent:
            loss = independent_distillation_loss(logits[:soft], targets[:soft].logit(_CERTAIN), self.temperature)
        else:
            teacher = targets[:soft].clamp_min(1e-12).log()
            loss = self.distillation_loss(logits[:soft], teacher, self.temperature)
        if len(batch["gold"]):
            gold = cross_entropy(logits[soft:], targets[soft:])
            loss = (1 - self.gold_weight) * loss + self.gold_weight * gold
        return loss


def one_hot(labels: Array, count: int) -> Array:
    """Return a float64 array of shape (rows, count) with a 1 at each row's label.

    Examples
    --------
    >>> one_hot(np.array([1, 0]), 2).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    return np.eye(count)[labels]


def gold_targets(labels: Array, count: int) -> Array:
    """Return gold labels as probabilities of shape (rows, count).

    Parameters
    ----------
    labels : positions of shape (rows,); or what is returned already: a number for each label
    count : number of labels
    """
    return one_hot(labels, count) if labels.ndim == 1 else np.asarray(labels, dtype=np.float64)


def fit_classifier(
    classifier: Classifier,
    table: Dataset,
    targets: Targets,
    how: Distillation,
    accelerator: Accelerator,
    *,
    gold: Gold | None = None,
    on_step: OnStep = lambda step, loss: None,
) -> list[float]:
    """Train a classifier in place.

    The loss is (1 - w) * L_KD + w * L_CE, with L_KD as in `pet.training.losses.distillation_loss`. Only the texts that
    the updates use are tokenized, so time and memory do not depend on the size of the table.

    Parameters
    ----------
    classifier : a new or a trained classifier
    table : the texts
    targets : probabilities of shape (rows, L); rows of 0 and 1 are gold labels
    how : updates, batches, temperature, w (`gold_weight`), seed
    accelerator : device and precision
    gold : labeled texts to mix in if w is above 0
    on_step : see `pet.training.loop.train`

    Returns
    -------
    list of float: mean losses over intervals of updates
    """
    soft, gold_rows = plan_rows(how, len(table), how.gold_batch(gold), 0 if gold is None else len(gold[1]))
    used, soft = np.unique(soft, return_inverse=True)
    encoded = _encode(classifier, table, used)
    kept = np.asarray(targets[used], dtype=np.float64)
    if gold is not None and gold_rows.size:
        encoded = _concatenate([encoded, _encode(classifier, gold[0], np.arange(len(gold[1])))])
        kept = np.concatenate([kept, gold_targets(gold[1], len(classifier.labels))])
    plan = np.concatenate([soft.reshape(len(gold_rows), how.batch), gold_rows + len(used)], axis=1)
    batches = _batches(classifier, encoded, kept, plan, gold_rows.shape[1], accelerator.device)
    tokens = np.append(encoded.ids.values, classifier.pad_id)
    with (
        only_used_words(classifier.model, tokens, how.schedule.decay),
        seeded(derive_seed(how.seed, "dropout"), accelerator.device),
    ):
        objective = StudentObjective(
            classifier.model, how.temperature, how.gold_weight, independent=classifier.independent, ordinal=how.ordinal
        ).to(accelerator.device)
        return train(objective, batches, how.schedule, accelerator, on_step)


def plan_rows(how: Distillation, rows: int, gold_batch: int, gold_rows: int) -> tuple[Array, Array]:
    """Draw the rows of all micro-batches in advance.

    Parameters
    ----------
    how : updates, batches and seed
    rows, gold_rows : number of rows with soft labels and of gold rows
    gold_batch : gold rows per micro-batch

    Returns
    -------
    int64 arrays of shape (micro-batches, batch) and (micro-batches, gold_batch)
    """
    count = how.schedule.steps * how.schedule.accumulation

    def draw(rows: int, size: int, name: str) -> Array:
        if not size or not count:
            return np.zeros((count, size), dtype=np.int64)
        generator = np.random.default_rng(derive_seed(how.seed, name))
        if rows > SHUFFLED and count * size <= rows:  # each row at most once
            return draw_some(rows, count * size, generator).reshape(count, size)
        batches = shuffled_batches(rows, size, generator)
        return np.stack([next(batches) for _ in range(count)])

    return draw(rows, how.batch, "rows"), draw(gold_rows, gold_batch, "gold")


def _encode(classifier: Classifier, table: Dataset, rows: Array) -> Encoded:
    whole = len(rows) == len(table) and not isinstance(table, Picked)
    chosen = table if whole else pick_rows(table, rows)
    return encode_texts(chosen, classifier.text_input, classifier.tokenizer, classifier.max_length)


def _batches(
    classifier: Classifier, encoded: Encoded, targets: Array, plan: Array, gold: int, device: torch.device
) -> Iterator[dict[str, Tensor]]:
    """Yield the micro-batches; the last `gold` rows of each are gold rows."""
    for rows in plan:
        batch, _ = pad_rows(encoded, rows, classifier.pad_id, left=classifier.pads_left)
        batch |= {"targets": targets[rows].astype(np.float32), "gold": rows[len(rows) - gold :]}
        batch["lengths"] = encoded.ids.lengths[rows]
        yield to_tensors(batch, device)


def _concatenate(parts: list[Encoded]) -> Encoded:
    lengths = np.concatenate([p.ids.lengths for p in parts])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Encoded(
        Ragged(np.concatenate([p.ids.values for p in parts]), offsets),
        np.concatenate([p.types for p in parts]),
        np.concatenate([p.ordinary for p in parts]),
        np.concatenate([p.mask_position for p in parts]),
        np.concatenate([p.cut for p in parts]),
    )
