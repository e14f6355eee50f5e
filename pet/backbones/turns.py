"""Score the tokens of a word one after the other, each with those before it filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from pet.backbones.masks import MaskPlan, repeat_masks

Batch = Mapping[str, Tensor]
# (batch, rows, positions, tokens) -> log-probabilities of the tokens at these positions, shape (N,)
Score = Callable[[Batch, Tensor, Tensor, Tensor], Tensor]
_ROWS = 64  # rows of a batch, at least, if there are as many


def score_in_turn(
    batch: Batch, found: Tensor, words: Tensor, plan: MaskPlan, score: Score, *, confident: bool
) -> Tensor:
    """Score the tokens of words one after the other.

    Parameters
    ----------
    batch : rows with one mask each, and its ``positions``
    found : log-probabilities of all tokens with no token filled in, shape (B, W)
    words : int64 tensor of shape (W,), the tokens of the words
    plan : result of `pet.backbones.masks.plan_masks`
    score : scores tokens with the model
    confident : fill the most probable of the open positions first, which may be another one for each text (Schick and
        Schütze 2021, arXiv 2009.07118, equation 3); otherwise the leftmost one

    Returns
    -------
    float tensor of shape (B, W)
    """
    result, count = found.clone(), len(found)
    at_once = max(1, max(_ROWS, count * len(plan.sizes)) // count)
    for size in plan.sizes:
        tokens = plan.of_size(size) if size > 1 else []
        for start in range(0, len(tokens), at_once):
            columns = torch.tensor([list(word) for word in tokens[start : start + at_once]], device=words.device)
            rows = repeat_masks(batch, batch["positions"], [size])
            result[:, columns] = _fill(rows, found[:, columns], words[columns], score, confident)
    return result


def _fill(batch: Batch, found: Tensor, words: Tensor, score: Score, confident: bool) -> Tensor:
    """Fill in words of one size, token by token.

    Parameters
    ----------
    batch : one row per text, with `size` masks
    found : log-probabilities with no token filled in, shape (B, words, size)
    words : tokens of the words, shape (words, size)
    score, confident : see `score_in_turn`
    """
    (count, number, size), device = found.shape, words.device
    rows = torch.arange(count * number, device=device)
    first = batch["positions"].view(count, size)[:, 0].repeat_interleave(number)
    filled = {name: values.repeat_interleave(number, dim=0) for name, values in batch.items() if name not in _PLACES}
    targets, now = words.repeat(count, 1), found.reshape(-1, size).clone()
    is_open = torch.ones_like(now, dtype=torch.bool)
    for _ in range(1, size):
        ranked = now.masked_fill(~is_open, -torch.inf) if confident else is_open.float()
        chosen = ranked.argmax(dim=1)  # of equal values, the leftmost
        is_open[rows, chosen] = False
        filled["input_ids"][rows, first + chosen] = targets[rows, chosen]
        which, place = is_open.nonzero(as_tuple=True)
        now[which, place] = score(filled, which, first[which] + place, targets[which, place]).to(now.dtype)
    return now.view(count, number, size)


_PLACES = ("rows", "positions", "labels", "targets")
