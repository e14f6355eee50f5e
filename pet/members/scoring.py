"""Score texts with a pattern, in batches of rows of similar length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pet.backbones.choices import choice_batch
from pet.cloze.asked import pair_rows
from pet.training.batching import padding_id, to_tensors, token_budget_batches, write_back
from pet.training.device import Accelerator, batch_tokens
from pet.training.losses import label_scores, word_mass
from pet.training.memory import kept_memory

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pet.backbones.base import LanguageModel
    from pet.cloze.pvp import PVP
    from pet.cloze.tokens import TokenTable

Array = NDArray[Any]
CHUNK_ROWS = 16384  # rows encoded at a time: bounds memory, and is enough for sorting by length to help


def score_rows(
    lm: LanguageModel,
    tokenizer: PreTrainedTokenizerBase,
    pvp: PVP,
    tokens: TokenTable,
    accelerator: Accelerator,
    *,
    max_tokens: int,
    out: Array | None = None,
    on_rows: Callable[[int], object] = lambda n: None,
) -> Array:
    """Compute the raw label scores s(l|x) of every row.

    If the pattern asks about each label by itself, they are s(yes|x,l) - s(no|x,l).

    Parameters
    ----------
    lm, tokenizer, pvp : language model, its tokenizer, and the pattern
    tokens : token table of the texts
    accelerator : device and precision
    max_tokens : tokens per batch, including padding, and counting a text once for each time the model reads it
    out : float32 array of shape (rows, L) to fill, such as a memory map; default: a new array
    on_rows : called with the number of rows scored since the last call

    Returns
    -------
    float32 array of shape (rows, L), in the order of the rows
    """
    if pvp.names is not None:
        return _score_pairs(lm, tokenizer, pvp, tokens, accelerator, _Asked(pvp.names, max_tokens, out, on_rows))
    if out is None:
        out = np.empty((_texts(tokens, pvp), pvp.word_to_label.shape[1]), dtype=np.float32)
    device = accelerator.device
    words = torch.from_numpy(pvp.words).to(device)
    word_to_label = torch.from_numpy(pvp.word_to_label).to(device)

    def scores(batch: Mapping[str, Tensor]) -> Tensor:
        return label_scores(lm.word_scores(batch, words, pvp), word_to_label)

    _for_each_batch(scores, lm, tokenizer, pvp, tokens, accelerator, _Batches(max_tokens, out, on_rows))
    return out


@dataclass(frozen=True)
class _Asked:
    """The labels that a pattern asks about, the size of the batches, and where the results go."""

    names: TokenTable
    max_tokens: int
    out: Array | None
    on_rows: Callable[[int], object]


def _score_pairs(
    lm: LanguageModel,
    tokenizer: PreTrainedTokenizerBase,
    pvp: PVP,
    tokens: TokenTable,
    accelerator: Accelerator,
    asked: _Asked,
) -> Array:
    """Score every label of every text with a row of its own."""
    pvp.check_kept(tokens)  # in a chunk of pairs, an error would name the row of a pair
    labels = np.arange(len(next(iter(asked.names.values()))))
    texts = len(next(iter(tokens.values())))
    out = np.empty((texts, len(labels)), dtype=np.float32) if asked.out is None else asked.out
    step = max(1, CHUNK_ROWS // len(labels))
    for start in range(0, texts, step):
        rows = np.arange(start, min(start + step, texts))
        pairs = pair_rows(tokens, rows, asked.names, labels)
        single = replace(pvp, names=None)
        answers = score_rows(lm, tokenizer, single, pairs, accelerator, max_tokens=asked.max_tokens)
        out[start : start + len(rows)] = (answers[:, 1] - answers[:, 0]).reshape(len(rows), len(labels))
        asked.on_rows(len(rows))
    return out


def mass_rows(
    lm: LanguageModel,
    tokenizer: PreTrainedTokenizerBase,
    pvp: PVP,
    tokens: TokenTable,
    accelerator: Accelerator,
    *,
    max_tokens: int,
    on_rows: Callable[[int], object] = lambda n: None,
) -> Array:
    """Compute the log of the total probability of all label words at the blank of every row.

    Parameters
    ----------
    lm, tokenizer, pvp, tokens, accelerator, max_tokens, on_rows : see `score_rows`

    Returns
    -------
    float32 array of shape (rows,)
    """
    out = np.empty(_texts(tokens, pvp), dtype=np.float32)
    words = torch.from_numpy(pvp.words).to(accelerator.device)
    starts = torch.tensor([not context for context in pvp.before], device=accelerator.device)
    word_of_token = starts.long().cumsum(dim=0) - 1

    def mass(batch: Mapping[str, Tensor]) -> Tensor:
        return word_mass(lm.log_probabilities(batch, words, pvp), word_of_token)

    _for_each_batch(mass, lm, tokenizer, pvp, tokens, accelerator, _Batches(max_tokens, out, on_rows))
    return out


def _texts(tokens: TokenTable, pvp: PVP) -> int:
    return len(tokens[pvp.encoder.keys[0]])


@dataclass(frozen=True)
class _Batches:
    """Size of the batches, and where their results go."""

    max_tokens: int
    out: Array
    on_rows: Callable[[int], object]


def _for_each_batch(
    compute: Callable[[Mapping[str, Tensor]], Tensor],
    lm: LanguageModel,
    tokenizer: PreTrainedTokenizerBase,
    pvp: PVP,
    tokens: TokenTable,
    accelerator: Accelerator,
    batches: _Batches,
) -> None:
    """Write what `compute` returns for each batch into the rows of an array."""
    count, device = _texts(tokens, pvp), accelerator.device
    lm = lm.to(device).eval()
    pad_id = padding_id(tokenizer)
    budget = batch_tokens(batches.max_tokens, device) // lm.rows_per_text(pvp)

    def computed() -> Iterator[tuple[Array, Tensor]]:
        for start in range(0, count, CHUNK_ROWS):
            rows = np.arange(start, min(start + CHUNK_ROWS, count))
            encoded = pvp.encoder.encode(tokens, rows)
            for chosen in token_budget_batches(encoded.ids.lengths, budget):
                batch = to_tensors(lm.scoring_batch(encoded, chosen, pad_id) | choice_batch(encoded, chosen), device)
                yield rows[chosen], compute(batch)

    with torch.inference_mode(), accelerator.autocast(), kept_memory(device.type):
        write_back(batches.out, computed(), batches.on_rows)
