"""Score label words that come from each row; see `pet.cloze.choices`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from pet.cloze.choices import Choices
    from pet.cloze.ragged import Encoded

Array = NDArray[Any]
CHOICES = "choices"  # in a batch: tokens of the words, int64 of shape (B, words, longest word), filled up with -1


def choice_batch(encoded: Encoded, rows: Array) -> dict[str, Array]:
    """Return what a batch has besides the rows of filled patterns: the words of these rows, if rows have words."""
    if encoded.choices is None:
        return {}
    words = encoded.choices[rows]
    longest = int((words >= 0).sum(axis=2).max())
    return {CHOICES: words[:, :, :longest]}


def spread_masks(batch: Mapping[str, Tensor], positions: Tensor, choices: Tensor) -> dict[str, Tensor]:
    """Return each row once for each of its words, with as many masks as the word has tokens.

    Parameters
    ----------
    batch : ``input_ids``, ``attention_mask`` and maybe ``token_type_ids``, of shape (at least B, T)
    positions : position of the mask in each row, shape (B,)
    choices : tokens of the words, shape (B, words, longest word)

    Returns
    -------
    The rows in the order of words within texts, and ``rows`` and ``positions``, which locate the masks in the order
    of the tokens
    """
    count, words, longest = choices.shape
    sizes = (choices >= 0).sum(dim=2).flatten()
    mask = positions.repeat_interleave(words)
    width = batch["input_ids"].shape[1]
    columns = torch.arange(width + longest - 1, device=choices.device)
    shifted = torch.maximum(mask[:, None], columns - (sizes - 1)[:, None])
    source = torch.where(columns <= mask[:, None], columns, shifted)
    inside, source = source < width, source.clamp(max=width - 1)
    origin = torch.arange(count, device=choices.device).repeat_interleave(words)[:, None]
    names = ("input_ids", "attention_mask", "token_type_ids")
    result = {name: batch[name][origin, source] for name in names if name in batch}
    result["attention_mask"] = result["attention_mask"] * inside
    rows = torch.arange(count * words, device=choices.device)
    steps = torch.arange(longest, device=choices.device)
    real = steps < sizes[:, None]
    result["rows"] = rows[:, None].expand(-1, longest)[real]
    result["positions"] = (mask[:, None] + steps)[real]
    if "lengths" in batch:
        result["lengths"] = batch["lengths"][:count].repeat_interleave(words) + sizes.to(batch["lengths"].device) - 1
    return result


def choice_scores(logits: Iterable[Tensor], choices: Tensor, plan: Choices) -> Tensor:
    """Return the score of every label: the mean log-probability of the tokens of its word.

    Parameters
    ----------
    logits : parts of the logits at the place of each token, in order, each of shape (n, V)
    choices : tokens of the words, shape (B, words, longest word)
    plan : which word is scored for each label

    Returns
    -------
    float tensor of shape (B, L)
    """
    real = choices >= 0
    targets = choices[real]
    own, best, start = [], [], 0
    for part in logits:
        tokens = targets[start : start + len(part), None]
        found = part.float().log_softmax(dim=-1)
        own.append(found.gather(1, tokens)[:, 0])
        if any(plan.other):
            best.append(found.scatter(1, tokens, float("-inf")).amax(dim=1))
        start += len(part)
    scores = {False: _means(own, real)} | ({True: _means(best, real)} if best else {})
    return torch.stack([scores[other][:, word] for word, other in zip(plan.of_label, plan.other, strict=True)], dim=1)


def _means(parts: list[Tensor], real: Tensor) -> Tensor:
    """Return the mean over the tokens of each word: shape (B, words)."""
    values = torch.cat(parts)
    sums = torch.zeros(real.shape, dtype=values.dtype, device=values.device).masked_scatter(real, values).sum(dim=2)
    return sums / real.sum(dim=2)
