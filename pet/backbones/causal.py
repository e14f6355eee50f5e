"""Causal language models: patterns end in the mask, and label words are scored as continuations.

Rows are padded on the left, so that the last token of each is in the last column. Each text goes through the model
once; multi-token words continue from its cached keys and values, no matter how many words there are. Models with
a recurrent state instead of a key-value cache read the text again for each word.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from pet.backbones.base import Batch, BatchMaker, LanguageModel
from pet.backbones.choices import CHOICES
from pet.backbones.words import Paths, plan_paths, score_tokens
from pet.compat import repeat_cache
from pet.training.batching import pad_rows, padding_id
from pet.training.spans import IGNORED

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pet.cloze.pvp import PVP
    from pet.cloze.ragged import Encoded

Array = NDArray[Any]


class CausalLM(LanguageModel):
    """A causal language model, which scores words at the end of a row."""

    def __init__(self, model: PreTrainedModel):
        super().__init__(model)
        known = inspect.signature(model.forward).parameters
        self._takes_positions = "position_ids" in known  # others derive them from the attention mask
        self._takes_keep = "logits_to_keep" in known
        self._keeps = "past_key_values" in known

    def scoring_batch(self, encoded: Encoded, rows: Array, pad_id: int) -> dict[str, Array]:
        batch, _ = pad_rows(encoded, rows, pad_id, left=True)
        return {name: batch[name] for name in ("input_ids", "attention_mask")}

    def batch_maker(
        self, tokenizer: PreTrainedTokenizerBase, probability: float, generator: np.random.Generator
    ) -> BatchMaker:
        """Unlabeled rows are unchanged; their loss is that of next-token prediction."""
        pad_id = padding_id(tokenizer)

        def make(labeled: Encoded, chosen: Array, unlabeled: Encoded | None) -> dict[str, Array]:
            batch = self.scoring_batch(labeled, chosen, pad_id)
            if unlabeled is not None:
                texts, ordinary = pad_rows(unlabeled, np.arange(len(unlabeled)), pad_id, left=True)
                begun = np.roll(texts["attention_mask"], 1, axis=1).astype(bool)
                begun[:, 0] = False  # the first token of a row has no context
                targets = np.where(ordinary & begun, texts["input_ids"], IGNORED)
                batch |= {
                    "text_ids": texts["input_ids"],
                    "text_attention_mask": texts["attention_mask"],
                    "text_targets": targets,
                }
            return batch

        return make

    def word_scores(self, batch: Batch, words: Tensor, pvp: PVP) -> Tensor:
        if pvp.choices is not None:
            return self.choice_scores(batch, pvp, pvp.choices)
        paths = plan_paths(pvp.before)
        ids, attention = batch["input_ids"], batch["attention_mask"]
        if not paths.width:
            return score_tokens([self._logits(ids, attention, keep=1)[0][:, -1]], words, pvp.before, paths)
        first, cache = self._logits(ids, attention, keep=1, use_cache=self._keeps)
        cache = repeat_cache(cache, len(paths.rows))
        further = self._reread(ids, attention, paths) if cache is None else self._continue(cache, attention, paths)
        logits = [
            further[:, row, len(context) - 1] if context else first[:, -1]
            for context, row in zip(paths.contexts, paths.row_of, strict=True)
        ]
        return score_tokens(logits, words, pvp.before, paths)

    def choice_logits(self, batch: Batch, pvp: PVP) -> Iterable[Tensor]:
        ids, attention, choices = batch["input_ids"], batch["attention_mask"], batch[CHOICES]
        words, longest = choices.shape[1:]
        context = choices[..., :-1].reshape(len(ids) * words, longest - 1)
        whole = torch.cat([ids.repeat_interleave(words, dim=0), context.clamp(min=0)], dim=1)
        longer = torch.cat([attention.repeat_interleave(words, dim=0), (context >= 0).to(attention.dtype)], dim=1)
        logits = self._logits(whole, longer, keep=longest)[0][:, -longest:]
        yield logits.reshape(*choices.shape, -1)[choices >= 0]

    def training_pass(self, batch: Batch, words: Tensor, pvp: PVP) -> tuple[Tensor, Tensor | None]:
        scores = self.word_scores(batch, words, pvp)
        if "text_ids" not in batch:
            return scores, None
        logits, _ = self._logits(batch["text_ids"], batch["text_attention_mask"])
        targets = batch["text_targets"][:, 1:]
        total = F.cross_entropy(logits[:, :-1].float().transpose(1, 2), targets, ignore_index=IGNORED, reduction="sum")
        return scores, total / (targets != IGNORED).sum().clamp(min=1)  # texts without words have no loss

    def _logits(self, ids: Tensor, attention: Tensor, keep: int = 0, use_cache: bool = False) -> tuple[Tensor, Any]:
        """Return next-token logits of the last `keep` columns (0: all), and the key-value cache if used."""
        found = self.model(
            input_ids=ids,
            attention_mask=attention,
            **({"use_cache": use_cache} if self._keeps else {}),
            **self._positions(attention, ids.shape[1]),
            **({"logits_to_keep": keep} if keep and self._takes_keep else {}),
        )
        return found.logits, found.past_key_values if use_cache else None

    def _positions(self, attention: Tensor, columns: int) -> dict[str, Tensor]:
        """Return the positions of the last columns, counted from the first token of each row."""
        if not self._takes_positions:
            return {}
        return {"position_ids": (attention.cumsum(dim=1) - 1).clamp(min=0)[:, -columns:]}

    def _continue(self, cache: Any, attention: Tensor, paths: Paths) -> Tensor:
        """Return the logits after each token of each path, continuing from the cache: shape (B, P, width, V)."""
        rows, count = len(attention), len(paths.rows)
        ids = paths.padded(attention.device).repeat(rows, 1)
        longer = F.pad(attention.repeat_interleave(count, dim=0), (0, paths.width), value=1)
        found = self.model(
            input_ids=ids,
            attention_mask=longer,
            past_key_values=cache,
            use_cache=True,
            **self._positions(longer, paths.width),
        )
        logits: Tensor = found.logits
        return logits.view(rows, count, *logits.shape[1:])

    def _reread(self, ids: Tensor, attention: Tensor, paths: Paths) -> Tensor:
        """Like `_continue`, but read each row again for every path."""
        rows, count = len(ids), len(paths.rows)
        whole = torch.cat([ids.repeat_interleave(count, dim=0), paths.padded(ids.device).repeat(rows, 1)], dim=1)
        longer = F.pad(attention.repeat_interleave(count, dim=0), (0, paths.width), value=1)
        logits = self._logits(whole, longer, keep=paths.width)[0][:, -paths.width :]
        return logits.reshape(rows, count, *logits.shape[1:])
