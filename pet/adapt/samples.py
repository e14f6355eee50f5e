"""Examples of how the model fills a mask, to show what it has learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pet.backbones.masked import position_limit
from pet.errors import PetError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PIECES, AROUND = 4, 12


def from_held_out(tokenizer: PreTrainedTokenizerBase, held: np.ndarray) -> list[tuple[str, str]]:
    """Return a few pieces of held-out text, always the same, as (text with ``{mask}``, hidden word)."""
    rng = np.random.default_rng([0, 6])
    special = np.isin(held, tokenizer.all_special_ids)
    found: list[tuple[str, str]] = []
    for i in rng.permutation(len(held)):
        middle = int(rng.integers(held.shape[1]))
        word = tokenizer.decode([int(held[i, middle])]).strip()
        ends = np.flatnonzero(special[i])  # the context ends where another document begins
        start = max([middle - AROUND, 0, *(ends[ends < middle] + 1)])
        stop = min([middle + AROUND + 1, held.shape[1], *ends[ends > middle]])
        if special[i, middle] or len(word) < 3 or not word.isalpha() or stop - start < AROUND // 2:
            continue
        left, right = (
            tokenizer.decode(held[i, part].tolist()).strip() for part in (slice(start, middle), slice(middle + 1, stop))
        )
        if "{mask}" not in left + right:
            found.append((f"{left} {{mask}} {right}".strip(), word))
        if len(found) == PIECES:
            break
    return found


def fill(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    held: np.ndarray,
    best: int = 5,
) -> list[dict[str, Any]]:
    """Return the most probable tokens at the mask of each prompt, or of pieces of held-out text without prompts.

    Parameters
    ----------
    prompts : texts that contain ``{mask}`` once
    held : int array of shape (sequences, length)
    best : number of tokens per prompt

    Returns
    -------
    list of dict: ``text``, ``hidden`` (the original word, or None) and ``words`` (pairs of token and probability)

    Raises
    ------
    PetError
        If a prompt is longer than the model's positions.
    """
    pairs: list[tuple[str, str | None]] = [(prompt, None) for prompt in prompts] or [*from_held_out(tokenizer, held)]
    results = []
    was_training = model.training
    model.eval()
    for text, hidden in pairs:
        ids = tokenizer(text.replace("{mask}", tokenizer.mask_token), return_tensors="pt")["input_ids"]
        ids = ids[:, : position_limit(model)]  # truncation would be saved with the tokenizer
        at = (ids[0] == tokenizer.mask_token_id).nonzero()
        if not len(at):
            raise PetError(f"--sample {text[:60]!r}...: {{mask}} is beyond the model's positions; shorten the text")
        with torch.no_grad():
            logits = model(input_ids=ids.to(model.device)).logits[0, int(at[0])].float()
        top = logits.softmax(-1).topk(min(best, len(logits)))
        words = [
            [tokenizer.decode([int(i)]).strip(), round(float(p), 3)]
            for p, i in zip(top.values, top.indices, strict=True)
        ]
        results.append({"text": text, "hidden": hidden, "words": words})
    model.train(was_training)
    return results
