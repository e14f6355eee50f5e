"""A student from soft labels, and a plain classifier from gold labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pet.cloze.ragged import Encoded
from pet.seeds import derive_seed
from pet.student.classifier import Classifier, encode_texts, model_inputs
from pet.training.batching import pad_rows, shuffled_batches, to_tensors
from pet.training.loop import Schedule, train
from pet.training.losses import distillation_loss, soft_cross_entropy

if TYPE_CHECKING:
    from accelerate import Accelerator
    from datasets import Dataset
    from transformers import PreTrainedModel

Array = NDArray[Any]
OnStep = Callable[[int, "float | None"], None]


class StudentObjective(nn.Module):
    """Loss of a micro-batch: distillation on its soft rows, cross-entropy on its gold ones.

    Parameters
    ----------
    model : sequence classifier
    temperature : of the distillation; None trains on the targets with cross-entropy instead
    gold_weight : share of the gold rows' cross-entropy
    """

    def __init__(self, model: PreTrainedModel, temperature: float | None, gold_weight: float):
        super().__init__()
        self.model = model
        self.temperature = temperature
        self.gold_weight = gold_weight

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        logits = self.model(**model_inputs(self.model, batch)).logits.float()
        targets, soft = batch["targets"], len(batch["targets"]) - len(batch["gold"])
        if self.temperature is None:
            loss = soft_cross_entropy(logits[:soft], targets[:soft])
        else:
            teacher = targets[:soft].clamp_min(1e-12).log()
            loss = distillation_loss(logits[:soft], teacher, self.temperature)
        if len(batch["gold"]):
            gold = soft_cross_entropy(logits[soft:], targets[soft:])
            loss = (1 - self.gold_weight) * loss + self.gold_weight * gold
        return loss


def _batches(
    encoded: Encoded,
    targets: Array,
    soft_rows: int,
    size: int,
    gold_size: int,
    pad_id: int,
    device: torch.device,
    seed: int,
    left: bool,
) -> Iterator[dict[str, Tensor]]:
    """Micro-batches of `size` soft rows and, behind them, `gold_size` gold rows."""
    soft = shuffled_batches(soft_rows, size, np.random.default_rng(derive_seed(seed, "rows")))
    gold = None
    if gold_size:
        gold = shuffled_batches(len(encoded) - soft_rows, gold_size, np.random.default_rng(derive_seed(seed, "gold")))
    while True:
        rows, gold_rows = next(soft), np.zeros(0, dtype=np.int64)
        if gold is not None:
            gold_rows = next(gold) + soft_rows
            rows = np.concatenate([rows, gold_rows])
        batch, _ = pad_rows(encoded, rows, pad_id, left=left)
        batch |= {"targets": targets[rows].astype(np.float32), "gold": gold_rows}
        yield to_tensors(batch, device)


def one_hot(labels: Array, count: int) -> Array:
    """float64 array of shape (rows, count) with a 1 at each row's label."""
    return np.eye(count)[labels]


def fit_classifier(
    classifier: Classifier,
    table: Dataset,
    targets: Array,
    schedule: Schedule,
    accelerator: Accelerator,
    *,
    seed: int,
    batch_size: int,
    temperature: float | None,
    gold: tuple[Dataset, Array] | None = None,
    gold_weight: float = 0.0,
    on_step: OnStep = lambda step, loss: None,
) -> list[float]:
    """Train a classifier, in place, on probabilities.

    L = (1 - w) * L_KD + w * L_CE, L_KD as in `pet.training.losses.distillation_loss`.

    Parameters
    ----------
    classifier : with a fresh head, or a trained one to go on with
    table : the texts
    targets : probabilities of shape (rows, L); one-hot rows are hard labels
    schedule : updates, learning rate, micro-batches an update
    accelerator : device and precision
    seed : decides the order of rows and dropout
    batch_size : soft rows of a micro-batch
    temperature : of the distillation; None uses plain cross-entropy with the targets
    gold : labeled texts and their labels (positions), mixed in when `gold_weight` is above 0
    gold_weight : w
    on_step : see `pet.training.loop.train`

    Returns
    -------
    list of float: mean losses over stretches of updates
    """
    parts = [(table, np.asarray(targets, dtype=np.float64))]
    gold_size = 0
    if gold is not None and gold_weight > 0 and len(gold[1]):
        parts.append((gold[0], one_hot(gold[1], len(classifier.labels))))
        gold_size = min(len(gold[1]), max(1, batch_size // 4))
    encoded = [encode_texts(t, classifier.text_input, classifier.tokenizer, classifier.max_length) for t, _ in parts]
    joined = encoded[0] if len(encoded) == 1 else _concatenate(encoded)
    objective = StudentObjective(classifier.model, temperature, gold_weight).to(accelerator.device)
    pad_id = int(classifier.tokenizer.pad_token_id or 0)
    all_targets = np.concatenate([t for _, t in parts])
    batches = _batches(
        joined, all_targets, len(table), batch_size, gold_size, pad_id, accelerator.device, seed, classifier.pads_left
    )
    torch.manual_seed(derive_seed(seed, "dropout"))
    return train(objective, batches, schedule, accelerator, on_step)


def _concatenate(parts: list[Encoded]) -> Encoded:
    from pet.cloze.ragged import Ragged

    lengths = np.concatenate([p.ids.lengths for p in parts])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Encoded(
        Ragged(np.concatenate([p.ids.values for p in parts]), offsets),
        np.concatenate([p.types for p in parts]),
        np.concatenate([p.ordinary for p in parts]),
        np.concatenate([p.mask_position for p in parts]),
        np.concatenate([p.cut for p in parts]),
    )
