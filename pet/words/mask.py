"""What a model fills in: log-probabilities of words at the mask of patterns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from pet.cloze.encode import ClozeEncoder
from pet.cloze.pvp import PVP
from pet.cloze.tokens import TokenTable
from pet.members.shared import Shared
from pet.training.batching import padding_id, to_tensors, token_budget_batches, write_back
from pet.training.device import batch_tokens
from pet.training.memory import kept_memory

Array = NDArray[Any]


def blank_pattern(encoder: ClozeEncoder, vocabulary: int) -> PVP:
    """Return a pattern whose "label words" are all tokens of a vocabulary, for scoring any word at its mask."""
    words = np.arange(vocabulary, dtype=np.int64)
    return PVP(encoder, words, np.zeros((vocabulary, 1), np.float32), ((),) * vocabulary, ())


def log_probabilities(
    shared: Shared,
    encoder: ClozeEncoder,
    tokens: TokenTable,
    chosen: Array,
    on_rows: Callable[[int], object] = lambda rows: None,
) -> Array:
    """Return the log-probabilities of some words at the mask of each text, under the untrained model.

    Parameters
    ----------
    shared : model, recipe and device
    encoder : fills the pattern
    tokens : token table of the texts
    chosen : int64 array of shape (C,), tokens
    on_rows : called with the number of rows finished since the last call

    Returns
    -------
    float32 array of shape (rows, C); the probabilities of the whole vocabulary add up to 1
    """
    device = shared.accelerator.device
    lm = shared.models.untrained().to(device).eval()
    pvp = blank_pattern(encoder, int(lm.model.get_input_embeddings().weight.shape[0]))
    words, columns = torch.from_numpy(pvp.words).to(device), torch.from_numpy(chosen).to(device)
    encoded = encoder.encode(tokens)
    out = np.empty((len(encoded), len(chosen)), np.float32)
    pad_id = padding_id(shared.tokenizer)
    batches = token_budget_batches(encoded.ids.lengths, batch_tokens(shared.recipe.inference.tokens, device))

    def scored() -> Iterator[tuple[Array, Tensor]]:
        for rows in batches:
            batch = to_tensors(lm.scoring_batch(encoded, rows, pad_id), device)
            scores = lm.word_scores(batch, words, pvp).float()
            yield rows, F.log_softmax(scores, dim=-1)[:, columns]

    with torch.inference_mode(), shared.accelerator.autocast(), kept_memory(device.type):
        write_back(out, scored(), on_rows)
    return out
