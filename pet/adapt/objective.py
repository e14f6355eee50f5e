"""The masked-LM objective on packed sequences: hidden tokens, loss and evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pet.adapt.packing import continuations
from pet.adapt.settings import TrainingSettings
from pet.backbones.masked import MaskedLM
from pet.training.batching import to_tensors
from pet.training.device import Accelerator
from pet.training.masking import MaskingRule, hide_share

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Array = NDArray[Any]
_EVALUATION = 4  # second part of the seed, as in `pet.adapt.plan`


@dataclass(frozen=True)
class Masker:
    """Hides tokens of packed sequences.

    Attributes
    ----------
    rule : how
    special : bool array of shape (vocabulary,): tokens that are neither hidden nor drawn
    continues : bool array of shape (vocabulary,): tokens that continue a word; None: tokens are hidden one by one
    """

    rule: MaskingRule
    special: Array
    continues: Array | None = None

    def hide(self, ids: Array, generator: np.random.Generator) -> tuple[Array, Array]:
        """Return the inputs and the hidden positions (bool), both of shape (B, T)."""
        continues = None if self.continues is None else self.continues[ids]
        return hide_share(ids, ~self.special[ids], self.rule, generator, continues)


def make_masker(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, settings: TrainingSettings) -> Masker:
    """Return the masker for a tokenizer and a model, whose vocabulary may be padded."""
    size = max(model.config.vocab_size, len(tokenizer))
    special = np.zeros(size, dtype=bool)
    special[tokenizer.all_special_ids] = True
    special[len(tokenizer) :] = True  # rows that only pad the embedding matrix
    continues = np.zeros(size, dtype=bool)
    table = continuations(tokenizer)
    continues[: len(table)] = table
    rule = MaskingRule(int(tokenizer.mask_token_id), np.flatnonzero(~special), settings.mask_rate)
    return Masker(rule, special, continues if settings.whole_word else None)


class MaskedTokenObjective(nn.Module):
    """Cross-entropy of the hidden tokens of a micro-batch, as its share of the mean over an update."""

    def __init__(self, lm: MaskedLM):
        super().__init__()
        self.lm = lm

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Loss of a micro-batch of `micro_batch`."""
        logits = self.lm.word_logits(batch, batch["rows"], batch["positions"], None)
        return F.cross_entropy(logits.float(), batch["targets"], reduction="sum") * batch["weight"]


def micro_batch(ids: Array, inputs: Array, hidden: Array, weight: float = 1.0) -> dict[str, Array]:
    """Return a batch for `MaskedTokenObjective`; `weight` is the factor of the summed loss."""
    rows, positions = np.nonzero(hidden)
    return {
        "input_ids": inputs.astype(np.int64),
        "attention_mask": np.ones(ids.shape, dtype=np.int64),
        "lengths": np.full(len(ids), ids.shape[1]),
        "rows": rows,
        "positions": positions,
        "targets": ids[hidden].astype(np.int64),
        "weight": np.asarray(weight, dtype=np.float32),
    }


def evaluate(
    objective: MaskedTokenObjective, blocks: Array, masker: Masker, settings: TrainingSettings, accelerator: Accelerator
) -> dict[str, float]:
    """Evaluate at masked positions of held-out text; the masks are the same each time.

    Returns
    -------
    dict: ``loss`` (nats per masked token), ``perplexity``, ``accuracy``, ``masked`` (number of tokens)
    """
    blocks = blocks[: max(1, settings.eval_tokens // blocks.shape[1])]
    inputs, hidden = masker.hide(blocks, np.random.default_rng([settings.seed, _EVALUATION]))
    at_once = settings.sequences_at_once(blocks.shape[1])
    loss, hits, total = 0.0, 0, int(hidden.sum())
    was_training = objective.training
    objective.eval()
    with torch.no_grad(), accelerator.autocast():
        for start in range(0, len(blocks), at_once):
            part = slice(start, start + at_once)
            batch = to_tensors(micro_batch(blocks[part], inputs[part], hidden[part]), accelerator.device)
            logits = objective.lm.word_logits(batch, batch["rows"], batch["positions"], None).float()
            loss += F.cross_entropy(logits, batch["targets"], reduction="sum").item()
            hits += int((logits.argmax(-1) == batch["targets"]).sum())
    objective.train(was_training)
    mean = loss / total
    return {"loss": mean, "perplexity": math.exp(min(mean, 50.0)), "accuracy": hits / total, "masked": total}


def set_dropout(model: nn.Module, rate: float) -> None:
    """Set the dropout rate of a model and all of its layers."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
        for name in ("dropout_prob", "attention_dropout"):  # attention kernels read a number instead
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, rate)
