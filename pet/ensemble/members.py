"""Training one member: a pattern, a repetition, and the pretrained weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pet.cloze.encode import Encoded
from pet.cloze.pvp import PVP
from pet.seeds import derive_seed
from pet.training.batching import pad_rows, shuffled_batches, to_tensors
from pet.training.loop import Schedule, train
from pet.training.losses import label_scores, member_loss
from pet.training.masking import MaskingRule, hide_tokens, ordinary_vocabulary

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PreTrainedTokenizerBase

    from pet.backbones.masked import MaskedLM
    from pet.cloze.tokens import TokenTable
    from pet.training.group import Group
    from pet.training.recipe import Recipe

Array = NDArray[Any]
OnStep = Callable[[int, "float | None"], None]


class MemberObjective(nn.Module):
    """The loss of a member for one micro-batch of labelled and unlabelled rows."""

    words: Tensor
    word_to_label: Tensor

    def __init__(self, lm: MaskedLM, pvp: PVP, alpha: float):
        super().__init__()
        self.lm = lm
        self.alpha = alpha
        self.register_buffer("words", torch.from_numpy(pvp.words), persistent=False)
        self.register_buffer("word_to_label", torch.from_numpy(pvp.word_to_label), persistent=False)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Loss of a micro-batch.

        The batch holds labelled rows, then unlabelled ones; ``rows`` and ``positions`` name the masks
        of the labelled rows, then the hidden tokens of the others. The encoder sees all rows at once.
        """
        features = self.lm.features(batch, batch["rows"], batch["positions"])
        labels, targets = batch["labels"], batch["targets"]
        if not len(targets):
            scores = label_scores(self.lm.project(features, self.words), self.word_to_label)
            return F.cross_entropy(scores, labels)
        # One product for both losses: each would bring a gradient as large as the whole vocabulary.
        logits = self.lm.project(features, None)
        scores = label_scores(logits[: len(labels)][:, self.words], self.word_to_label)
        mlm = F.cross_entropy(logits[len(labels) :].float(), targets)
        return member_loss(F.cross_entropy(scores, labels), mlm, self.alpha)


@dataclass(frozen=True)
class MemberData:
    """What a member learns from.

    Attributes
    ----------
    labeled : token table of the labelled texts
    labels : int64 array of shape (rows,), positions in the task's labels; or float32 probabilities of shape (rows, L)
    unlabeled : token table of the pool, or None
    """

    labeled: TokenTable
    labels: Array
    unlabeled: TokenTable | None


def _join(
    labeled: Encoded, chosen: Array, unlabeled: Encoded | None, hidden: Array | None, pad_id: int
) -> tuple[dict[str, Array], Array]:
    """Labelled and unlabelled rows in one padded batch."""
    batch, ordinary = pad_rows(labeled, chosen, pad_id)
    ordinary[:] = False  # the auxiliary loss hides nothing in labelled rows
    if unlabeled is None or hidden is None:
        return batch, ordinary
    other, other_ordinary = pad_rows(unlabeled, hidden, pad_id)
    width = max(ordinary.shape[1], other_ordinary.shape[1])

    def stack(top: Array, bottom: Array, fill: int) -> Array:
        parts = [np.pad(a, ((0, 0), (0, width - a.shape[1])), constant_values=fill) for a in (top, bottom)]
        return np.concatenate(parts)

    fills = {"input_ids": pad_id, "attention_mask": 0, "token_type_ids": 0}
    joined = {name: stack(batch[name], other[name], fill) for name, fill in fills.items()}
    return joined, stack(ordinary, other_ordinary, 0).astype(bool)


def member_batches(
    pvp: PVP,
    data: MemberData,
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    vocabulary: int,
    device: torch.device,
    seed: int,
) -> Iterator[dict[str, Tensor]]:
    """Endless micro-batches for `MemberObjective`; the seed alone decides them."""
    pad_id = int(tokenizer.pad_token_id or 0)
    rule = MaskingRule(
        int(tokenizer.mask_token_id),
        ordinary_vocabulary(vocabulary, [int(i) for i in tokenizer.all_special_ids]),
        recipe.mlm_probability,
    )
    labeled = pvp.encoder.encode(data.labeled)
    labeled_rows = shuffled_batches(
        len(labeled), recipe.labeled_batch, np.random.default_rng(derive_seed(seed, "labeled"))
    )
    generator = np.random.default_rng(derive_seed(seed, "masking"))
    pool_size = 0
    if data.unlabeled is not None and recipe.unlabeled_batch:
        pool_size = len(data.unlabeled[pvp.encoder.keys[0]])
        pool_rows = shuffled_batches(
            pool_size, recipe.unlabeled_batch, np.random.default_rng(derive_seed(seed, "unlabeled"))
        )
    while True:
        chosen = next(labeled_rows)
        unlabeled, hidden = None, None
        if pool_size and data.unlabeled is not None:
            unlabeled = pvp.encoder.encode(data.unlabeled, next(pool_rows))
            hidden = np.arange(recipe.unlabeled_batch)
        batch, ordinary = _join(labeled, chosen, unlabeled, hidden, pad_id)
        rows, positions = np.arange(len(chosen)), labeled.mask_position[chosen]
        targets = np.zeros(0, dtype=np.int64)
        if unlabeled is not None:
            ids, hidden_rows, hidden_positions, targets = hide_tokens(batch["input_ids"], ordinary, rule, generator)
            batch["input_ids"] = ids
            rows = np.concatenate([rows, hidden_rows])
            positions = np.concatenate([positions, hidden_positions])
        batch |= {"rows": rows, "positions": positions, "labels": data.labels[chosen], "targets": targets}
        yield to_tensors(batch, device)


def train_member(
    lm: MaskedLM,
    tokenizer: PreTrainedTokenizerBase,
    pvp: PVP,
    data: MemberData,
    recipe: Recipe,
    learning_rate: float,
    seed: int,
    accelerator: Accelerator,
    on_step: OnStep = lambda step, loss: None,
    group: Group | None = None,
) -> list[float]:
    """Fine-tune a masked LM, in place, on labelled texts put through a pattern.

    Parameters
    ----------
    lm : pretrained model; it is moved to the accelerator's device
    tokenizer, pvp : how texts are read, and words scored
    data : labelled and unlabelled texts
    recipe : batch sizes, steps, the share of the auxiliary loss
    learning_rate : its peak
    seed : decides batches, hidden tokens and dropout
    accelerator : where, and how precisely
    on_step, group : see `pet.training.loop.train`

    Returns
    -------
    list of float: mean losses over stretches of updates
    """
    objective = MemberObjective(lm, pvp, recipe.alpha).to(accelerator.device)
    vocabulary = int(lm.model.config.vocab_size)
    batches = member_batches(pvp, data, recipe, tokenizer, vocabulary, accelerator.device, seed)
    schedule = Schedule(
        steps=recipe.member_steps(len(data.labels)),
        learning_rate=learning_rate,
        warmup=recipe.warmup,
        accumulation=recipe.accumulation,
        weight_decay=recipe.weight_decay,
        adam_epsilon=recipe.adam_epsilon,
        max_grad_norm=recipe.max_grad_norm,
    )
    torch.manual_seed(derive_seed(seed, "dropout", *([group.rank] if group and group.rank else [])))
    return train(objective, batches, schedule, accelerator, on_step, group)
