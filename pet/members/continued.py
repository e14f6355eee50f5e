"""Prompt-based continued pretraining (PCP, arXiv 2305.01711): masked-LM training on patterns filled with pseudo-labels.

Each text of the pool is put into the patterns, with the word of its pseudo-label in the blank. The model learns to
predict hidden words of the text and the label word. So it learns the language of the pool, and how the label words
fit into it, before a member learns from labeled texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pet.backbones import xlnet
from pet.backbones.masked import MaskedLM
from pet.cloze.asked import about
from pet.cloze.pvp import PVP
from pet.cloze.ragged import Encoded, Ragged, ragged_index
from pet.cloze.tokens import TokenTable, join_rows
from pet.compat import save_model
from pet.errors import PetError
from pet.members.shared import Shared
from pet.process import seeded
from pet.seeds import derive_seed
from pet.training.batching import pad_rows, padding_id, shuffled_batches, to_tensors
from pet.training.loop import Schedule, train
from pet.training.masking import MaskingRule, hide_tokens, ordinary_vocabulary
from pet.tuning.freeze import freeze

Array = NDArray[Any]
OnStep = Callable[[int, "float | None"], None]


@dataclass(frozen=True)
class PseudoLabeled:
    """Texts with pseudo-labels.

    Attributes
    ----------
    tokens : token table of the texts
    labels : int64 array of shape (rows,), positions in the task's labels; or bool of shape (rows, L), if a text may
        have several
    """

    tokens: TokenTable
    labels: Array


class FilledObjective(nn.Module):
    """The masked-LM loss of filled patterns."""

    def __init__(self, lm: MaskedLM):
        super().__init__()
        self.lm = lm

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the loss of a micro-batch from `filled_batches`."""
        logits = self.lm.word_logits(batch, batch["rows"], batch["positions"], None)
        return F.cross_entropy(logits.float(), batch["targets"])


def fill(encoded: Encoded, words: Ragged) -> Encoded:
    """Write a word into the blank of each row.

    Parameters
    ----------
    encoded : filled patterns with one mask token in each row
    words : the tokens of a word for each row
    """
    starts, sizes = encoded.ids.offsets[:-1], words.lengths
    times = np.ones(len(encoded.ids.values), dtype=np.int64)
    times[starts + encoded.mask_position] = sizes
    values, types, ordinary = (np.repeat(a, times) for a in (encoded.ids.values, encoded.types, encoded.ordinary))
    offsets = encoded.ids.offsets + np.concatenate([[0], np.cumsum(sizes - 1)])
    values[ragged_index(offsets[:-1] + encoded.mask_position, sizes)] = words.values
    return replace(encoded, ids=Ragged(values, offsets), types=types, ordinary=ordinary)


def hide_words(
    batch: dict[str, Array], ordinary: Array, blanks: tuple[Array, Array], rule: MaskingRule, share: float,
    generator: np.random.Generator,
) -> dict[str, Array]:  # fmt: skip
    """Hide words of the texts, and the label words of some rows.

    Parameters
    ----------
    batch : padded rows with a label word in each
    ordinary : bool array of shape (B, T): tokens of the texts and patterns, without the label words
    blanks : position and number of tokens of the label word in each row, each of shape (B,)
    rule, generator : see `pet.training.masking.hide_tokens`
    share : share of the rows whose label word is hidden

    Returns
    -------
    The batch with hidden tokens, and their ``rows``, ``positions`` and ``targets``
    """
    originals = batch["input_ids"]
    ids, rows, positions, targets = hide_tokens(originals, ordinary, rule, generator)
    hidden = np.flatnonzero(generator.random(len(ids)) < share)
    first, sizes = (values[hidden] for values in blanks)
    hidden, places = np.repeat(hidden, sizes), ragged_index(first, sizes)
    words = originals[hidden, places].astype(np.int64)
    ids[hidden, places] = rule.mask_id
    return batch | {
        "input_ids": ids,
        "rows": np.concatenate([rows, hidden]),
        "positions": np.concatenate([positions, places]),
        "targets": np.concatenate([targets, words]),
        "lengths": batch["attention_mask"].sum(axis=1),
    }


def filled_texts(pvp: PVP, data: PseudoLabeled, rows: Array, generator: np.random.Generator) -> tuple[Encoded, Array]:
    """Fill a pattern with texts and the words of their labels.

    A text with several labels gets the word of one of them at random. A pattern that asks about each label gets, half
    of the time, a label that the text has, and the word for yes, and otherwise one that it does not have, and no.

    Returns
    -------
    The filled patterns, and the number of tokens of each word
    """
    if data.labels.ndim == 1:
        encoded, words = pvp.encoder.encode(data.tokens, rows), data.labels[rows]
    else:
        sets, chance = data.labels[rows], generator.random((len(rows), data.labels.shape[1]))
        if pvp.names is not None:
            wanted = generator.random(len(rows)) < 0.5
            fits = np.where(wanted[:, None], sets, ~sets)
            fits |= ~fits.any(axis=1, keepdims=True)
            label = np.where(fits, chance, -1.0).argmax(axis=1)
            encoded = pvp.encoder.encode(about(join_rows([(data.tokens, rows)]), pvp.names, label))
            words = sets[np.arange(len(rows)), label].astype(np.int64)
        else:
            encoded, words = pvp.encoder.encode(data.tokens, rows), np.where(sets, chance, -1.0).argmax(axis=1)
    tokens = Ragged.from_rows([pvp.first_words[word] for word in words])
    return fill(encoded, tokens), tokens.lengths


def filled_batches(
    lm: MaskedLM, pvps: Sequence[PVP], data: PseudoLabeled, shared: Shared, seed: int
) -> Iterator[dict[str, Tensor]]:
    """Yield endless micro-batches for `FilledObjective`; the patterns take turns."""
    settings, tokenizer = shared.recipe.continued, shared.tokenizer
    generator = np.random.default_rng(derive_seed(seed, "masking"))
    order = np.random.default_rng(derive_seed(seed, "rows"))
    usable = np.arange(len(data.labels)) if data.labels.ndim == 1 else np.flatnonzero(data.labels.any(axis=1))
    if not len(usable):
        raise PetError("--method pcp: the members give no unlabeled text any label; use --method pet")
    batches = shuffled_batches(len(usable), settings.batch, order)
    vocabulary = ordinary_vocabulary(int(lm.model.config.vocab_size), [int(i) for i in tokenizer.all_special_ids])
    rule = MaskingRule(int(tokenizer.mask_token_id), vocabulary, shared.recipe.member.mlm_probability)
    if any(pvp.choices is not None for pvp in pvps):
        raise PetError("--method pcp requires label words that are the same for all texts, but some come from fields")
    for pvp in cycle(pvps):
        rows = usable[next(batches)]
        encoded, sizes = filled_texts(pvp, data, rows, generator)
        batch, ordinary = pad_rows(encoded, np.arange(len(rows)), padding_id(tokenizer))
        blanks = encoded.mask_position, sizes
        made = hide_words(batch, ordinary, blanks, rule, settings.word_share, generator)
        yield to_tensors(made, shared.accelerator.device)


def continue_pretraining(
    shared: Shared, data: PseudoLabeled, seed: int, folder: Path, on_step: OnStep = lambda step, loss: None
) -> list[float]:
    """Train the pretrained model on filled patterns, and save it as a folder that members can start from.

    Parameters
    ----------
    shared : model, patterns, recipe and device of a run
    data : texts with pseudo-labels
    seed : random seed
    folder : an empty folder
    on_step : see `pet.training.loop.train`

    Returns
    -------
    list of float: mean loss over every 10 updates
    """
    recipe, accelerator = shared.recipe, shared.accelerator
    shared.models.release()
    lm = shared.models.fresh()
    if not isinstance(lm, MaskedLM):
        raise PetError(NOT_MASKED)
    lm.to(accelerator.device)
    freeze(lm.model, recipe.tuning.freeze_layers)
    objective = FilledObjective(lm)
    schedule = Schedule.of(recipe.optimizer, recipe.member, recipe.member.learning_rate, recipe.continued.steps)
    batches = filled_batches(lm, shared.tuned_pvps, data, shared, seed)
    with seeded(derive_seed(seed, "dropout"), accelerator.device):
        losses = train(objective, batches, replace(schedule, accumulation=1), accelerator, on_step)
    save_model(lm.model, folder)
    shared.tokenizer.save_pretrained(folder)
    return losses


NOT_MASKED = "--method pcp requires a masked language model (BERT, RoBERTa, ...); use --method pet with this model"


def check_continued(shared: Shared) -> None:
    """Check that a run can continue pretraining.

    Raises
    ------
    PetError
        If the model is not a masked language model, or members do not have weights of their own.
    """
    if shared.recipe.tuning.method != "full":
        raise PetError(
            "--method pcp trains all weights before members are trained, and requires --tuning full; use --method pet "
            f"with --tuning {shared.recipe.tuning.method}"
        )
    if shared.models.info.kind.wrap is not MaskedLM or shared.models.info.config.model_type in xlnet.TYPES:
        raise PetError(NOT_MASKED)
