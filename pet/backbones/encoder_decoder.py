"""T5-like models: a sentinel represents the mask, and the decoder generates the missing text after it.

The encoder reads a text once. The decoder reads the sentinel and, for multi-token words, their prefixes.
The decoder's first position is not needed, so it skips the output layer, which is the largest part of mT5.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from transformers.modeling_outputs import BaseModelOutput

from pet.backbones.base import Batch, BatchMaker, LanguageModel
from pet.backbones.choices import CHOICES
from pet.backbones.words import plan_paths, score_tokens
from pet.cloze.blank import sentinels
from pet.training.batching import pad_rows, padding_id
from pet.training.spans import IGNORED, SpanRule, corrupt_spans

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pet.cloze.pvp import PVP
    from pet.cloze.ragged import Encoded

Array = NDArray[Any]


class EncoderDecoderLM(LanguageModel):
    """A T5-like model, which scores words after the first sentinel."""

    def scoring_batch(self, encoded: Encoded, rows: Array, pad_id: int) -> dict[str, Array]:
        batch, _ = pad_rows(encoded, rows, pad_id)
        return {name: batch[name] for name in ("input_ids", "attention_mask")}

    def batch_maker(
        self, tokenizer: PreTrainedTokenizerBase, probability: float, generator: np.random.Generator
    ) -> BatchMaker:
        """Unlabeled rows lose their mask and random spans, which the decoder must generate."""
        pad_id = padding_id(tokenizer)
        ends = () if tokenizer.eos_token_id is None else (int(tokenizer.eos_token_id),)
        rule = SpanRule(tuple(sentinels(tokenizer)), ends, pad_id, probability)

        def make(labeled: Encoded, chosen: Array, unlabeled: Encoded | None) -> dict[str, Array]:
            batch = self.scoring_batch(labeled, chosen, pad_id)
            if unlabeled is not None:
                ids, attention, targets = corrupt_spans(unlabeled, rule, generator)
                batch |= {"text_ids": ids, "text_attention_mask": attention, "text_targets": targets}
            return batch

        return make

    def word_scores(self, batch: Batch, words: Tensor, pvp: PVP) -> Tensor:
        if pvp.choices is not None:
            return self.choice_scores(batch, pvp, pvp.choices)
        paths = plan_paths(pvp.before)
        attention = batch["attention_mask"]
        rows, count = len(attention), len(paths.rows)
        encoder: Any = self.model.get_encoder()
        hidden: Tensor = encoder(input_ids=batch["input_ids"], attention_mask=attention)[0]
        begin = torch.tensor([[self._start, *pvp.encoder.blank.ids]], device=attention.device).expand(count, -1)
        with self._only_behind_the_sentinel():
            logits = self.model(
                encoder_outputs=BaseModelOutput(last_hidden_state=hidden.repeat_interleave(count, dim=0)),
                attention_mask=attention.repeat_interleave(count, dim=0),
                decoder_input_ids=torch.cat([begin, paths.padded(attention.device)], dim=1).repeat(rows, 1),
                use_cache=False,
            ).logits
        logits = logits.view(rows, count, *logits.shape[1:])
        wanted = [logits[:, row, len(c)] for c, row in zip(paths.contexts, paths.row_of, strict=True)]
        return score_tokens(wanted, words, pvp.before, paths)

    def choice_logits(self, batch: Batch, pvp: PVP) -> Iterable[Tensor]:
        attention, choices = batch["attention_mask"], batch[CHOICES]
        words, longest = choices.shape[1:]
        encoder: Any = self.model.get_encoder()
        hidden: Tensor = encoder(input_ids=batch["input_ids"], attention_mask=attention)[0]
        context = choices[..., :-1].reshape(len(attention) * words, longest - 1).clamp(min=0)
        begin = torch.tensor([[self._start, *pvp.encoder.blank.ids]], device=attention.device).expand(len(context), -1)
        with self._only_behind_the_sentinel():
            logits = self.model(
                encoder_outputs=BaseModelOutput(last_hidden_state=hidden.repeat_interleave(words, dim=0)),
                attention_mask=attention.repeat_interleave(words, dim=0),
                decoder_input_ids=torch.cat([begin, context], dim=1),
                use_cache=False,
            ).logits
        yield logits.view(*choices.shape, -1)[choices >= 0]

    def training_pass(self, batch: Batch, words: Tensor, pvp: PVP) -> tuple[Tensor, Tensor | None]:
        scores = self.word_scores(batch, words, pvp)
        if "text_ids" not in batch:
            return scores, None
        targets = batch["text_targets"]
        start = torch.full((len(targets), 1), self._start, device=targets.device)
        logits = self.model(
            input_ids=batch["text_ids"],
            attention_mask=batch["text_attention_mask"],
            decoder_input_ids=torch.cat([start, targets[:, :-1].clamp(min=0)], dim=1),
            use_cache=False,
        ).logits
        return scores, F.cross_entropy(logits.float().transpose(1, 2), targets, ignore_index=IGNORED)

    @property
    def _start(self) -> int:
        """The decoder's start token."""
        start = getattr(self.model.config, "decoder_start_token_id", None)
        return int(self.model.config.pad_token_id or 0) if start is None else int(start)

    @contextmanager
    def _only_behind_the_sentinel(self) -> Iterator[None]:
        """Keep the decoder's first place out of the output layer."""
        output: Any = self.model.get_output_embeddings()
        handle = output.register_forward_pre_hook(lambda _, inputs: (inputs[0][:, 1:], *inputs[1:]))
        try:
            yield
        finally:
            handle.remove()
