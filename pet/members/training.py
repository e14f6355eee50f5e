"""Train a language model on texts filled into a pattern."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pet.backbones.choices import choice_batch
from pet.cloze.asked import about, pair_rows
from pet.cloze.pvp import PVP
from pet.process import seeded
from pet.seeds import derive_seed
from pet.training.batching import balanced_batches, padding_id, shuffled_batches, to_tensors
from pet.training.device import Accelerator
from pet.training.loop import Schedule, train
from pet.training.losses import (
    class_weights,
    hinge_loss,
    independent_loss,
    label_scores,
    label_sums,
    loss_of_seen,
    member_loss,
    weighted_cross_entropy,
)
from pet.training.settings import HINGE

if TYPE_CHECKING:
    from pet.backbones.base import LanguageModel
    from pet.cloze.tokens import TokenTable
    from pet.recipe import Recipe
    from pet.training.group import Group
    from pet.training.settings import MemberSettings

Array = NDArray[Any]
OnStep = Callable[[int, "float | None"], None]
Loss = Callable[[Tensor, Tensor], Tensor]


class MemberObjective(nn.Module):
    """Loss of a member for one micro-batch of labeled and unlabeled rows."""

    words: Tensor
    word_to_label: Tensor
    offset: Tensor

    def __init__(
        self, lm: LanguageModel, pvp: PVP, alpha: float, loss: Loss = F.cross_entropy, offset: Array | None = None
    ):
        super().__init__()
        self.lm = lm
        self.pvp = pvp
        self.alpha = alpha
        self.loss = loss
        self.register_buffer("words", torch.from_numpy(pvp.words), persistent=False)
        self.register_buffer("word_to_label", torch.from_numpy(pvp.word_to_label), persistent=False)
        offset = np.zeros(pvp.word_to_label.shape[1]) if offset is None else offset
        self.register_buffer("offset", torch.from_numpy(offset.astype(np.float32)), persistent=False)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the loss of a micro-batch from `member_batches`."""
        words, auxiliary = self.lm.training_pass(batch, self.words, self.pvp)
        scores = label_scores(words, self.word_to_label) - self.offset
        loss, extra = self.loss(scores, batch["labels"]), self.lm.extra_loss(words, batch["labels"])
        return member_loss(loss if extra is None else loss + extra, auxiliary, self.alpha)


@dataclass(frozen=True)
class ClozeData:
    """Training data of a member.

    Attributes
    ----------
    labeled : token table of the labeled texts
    labels : int64 array of shape (rows,), positions in the task's labels; or float32 probabilities of shape (rows, L)
    unlabeled : token table of the pool, or None
    offset : array of shape (L,) that is subtracted from the scores; see `pet.members.offset`
    independent : whether a text may have several labels, which are then float32 of shape (rows, L)
    rows_per_text : number of rows of each text; more than 1 if the pattern asks about each label by itself
    """

    labeled: TokenTable
    labels: Array
    unlabeled: TokenTable | None
    offset: Array | None = None
    independent: bool = False
    rows_per_text: int = 1


def member_batches(
    lm: LanguageModel,
    pvp: PVP,
    data: ClozeData,
    settings: MemberSettings,
    device: torch.device,
    seed: int,
) -> Iterator[dict[str, Tensor]]:
    """Yield endless micro-batches for `MemberObjective`. They depend only on the data, the settings, and the seed."""
    labeled = pvp.encoder.encode(data.labeled)
    drawn = np.random.default_rng(derive_seed(seed, "labeled"))
    if settings.balanced_batches:
        labeled_rows = balanced_batches(data.labels, settings.labeled_batch, drawn)
    else:
        labeled_rows = shuffled_batches(len(labeled), settings.labeled_batch, drawn)
    generator = np.random.default_rng(derive_seed(seed, "masking"))
    make = lm.batch_maker(pvp.encoder.plain.tokenizer, settings.mlm_probability, generator)
    pool_size = 0
    if data.unlabeled is not None and settings.unlabeled_batch:
        pool_size = len(data.unlabeled[pvp.encoder.keys[0]])
        pool_rows = shuffled_batches(
            pool_size, settings.unlabeled_batch, np.random.default_rng(derive_seed(seed, "unlabeled"))
        )
    while True:
        chosen = next(labeled_rows)
        unlabeled = None
        if pool_size and data.unlabeled is not None:
            unlabeled = pvp.encoder.encode(data.unlabeled, next(pool_rows))
        batch = make(labeled, chosen, unlabeled) | choice_batch(labeled, chosen)
        yield to_tensors(batch | {"labels": data.labels[chosen]}, device)


def asked_data(data: ClozeData, names: TokenTable) -> ClozeData:
    """Return the training data of a pattern that asks about each label by itself: a row for each text and label.

    Labels without examples are not asked about. Otherwise a member would learn that no text has them.

    Parameters
    ----------
    data : training data with a number for each label
    names : tokens of the labels' names

    Returns
    -------
    ClozeData; its labels are 0 (no) or 1 (yes), or probabilities of both, shape (rows, 2)
    """
    rows, count = np.arange(len(data.labels)), data.labels.shape[1]
    seen = np.flatnonzero(data.labels.any(axis=0))
    asked = seen if len(seen) else np.arange(count)
    pairs, share = pair_rows(data.labeled, rows, names, asked), data.labels[:, asked].reshape(-1)
    whole = np.isin(share, (0, 1)).all()
    labels = share.astype(np.int64) if whole else np.stack([1 - share, share], axis=1).astype(np.float32)
    pool = data.unlabeled
    if pool is not None:
        pool = about(pool, names, np.arange(len(next(iter(pool.values())))) % count)
    return ClozeData(pairs, labels, pool, rows_per_text=len(asked))


def label_loss(recipe: Recipe, data: ClozeData, count: int) -> Loss:
    """Return the loss of the labels, given scores of shape (B, L).

    A label without examples is left out. Otherwise a member would learn that no text has it, whatever its words say.

    Parameters
    ----------
    recipe : which loss, and weights of the labels
    data : labels of the training set
    count : number of labels, L
    """
    if data.independent:
        return partial(independent_loss, seen=torch.from_numpy(np.asarray(data.labels.any(axis=0))))
    loss: Loss = hinge_loss if recipe.member.loss == HINGE else F.cross_entropy
    if recipe.member.weights_labels:
        loss = partial(weighted_cross_entropy, weights=torch.from_numpy(class_weights(data.labels, count)))
    seen = torch.from_numpy(np.flatnonzero(label_sums(data.labels, count)))
    return partial(loss_of_seen, loss=loss, seen=seen)


def train_member(
    lm: LanguageModel,
    pvp: PVP,
    data: ClozeData,
    recipe: Recipe,
    seed: int,
    accelerator: Accelerator,
    on_step: OnStep = lambda step, loss: None,
    group: Group | None = None,
) -> list[float]:
    """Fine-tune a language model in place with a pattern.

    Parameters
    ----------
    lm : pretrained model; it is moved to the accelerator's device
    pvp : pattern bound to the model's tokenizer
    data : labeled and unlabeled texts
    recipe : batch sizes, updates, learning rate, weight of the auxiliary MLM loss
    seed : random seed of batches, masking, and dropout
    accelerator : device and precision
    on_step, group : see `pet.training.loop.train`

    Returns
    -------
    list of float: mean loss over every 10 updates
    """
    loss = label_loss(recipe, data, pvp.word_to_label.shape[1])
    objective = MemberObjective(lm, pvp, recipe.member.alpha, loss, data.offset)
    objective.to(accelerator.device)
    batches = member_batches(lm, pvp, data, recipe.member, accelerator.device, seed)
    steps = recipe.member.updates(len(data.labels) // data.rows_per_text)
    schedule = Schedule.of(recipe.optimizer, recipe.member, recipe.member.learning_rate, steps)
    drawn = derive_seed(seed, "dropout", *([group.rank] if group and group.rank else []))
    with _words(lm, pvp, data, recipe, schedule), seeded(drawn, accelerator.device):
        return train(objective, batches, schedule, accelerator, on_step, group)


def _words(
    lm: LanguageModel, pvp: PVP, data: ClozeData, recipe: Recipe, schedule: Schedule
) -> AbstractContextManager[Any]:
    """Train only the word embeddings that the texts use, unless unlabeled texts predict words of the vocabulary."""
    if data.unlabeled is not None and recipe.member.unlabeled_batch:
        return nullcontext()
    tokens = np.append(pvp.encoder.encode(data.labeled).ids.values, padding_id(pvp.encoder.plain.tokenizer))
    return lm.words_of_training(tokens, schedule.decay, pvp)
