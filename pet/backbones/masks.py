"""Label words of several tokens in masked language models: a word has as many masks as tokens.

Each text is read once for each distinct number of tokens, however many words have this number (Schick and Schütze
2021, arXiv 2009.07118, section 3.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class MaskPlan:
    """Which masks score the tokens of words. A block of rows has the texts with one number of masks.

    Attributes
    ----------
    sizes : distinct numbers of tokens, ascending; the number of masks of each block
    words : for each word, the first of its tokens and the token after its last one
    """

    sizes: tuple[int, ...]
    words: tuple[tuple[int, int], ...]

    @property
    def is_single(self) -> bool:
        """Whether all words are single tokens."""
        return self.sizes == (1,)

    def of_size(self, size: int) -> list[range]:
        """Return the tokens of each word that has this many."""
        return [range(start, stop) for start, stop in self.words if stop - start == size]

    def places(self, count: int, device: torch.device) -> Tensor:
        """Return which mask scores a token of a text.

        Parameters
        ----------
        count : number of texts B
        device : where to put the result

        Returns
        -------
        int64 tensor of shape (B, W). Masks are numbered by block, then by text, then from left to right.
        """
        starts, total = {}, 0
        for size in self.sizes:
            starts[size], total = total, total + count * size
        firsts, steps = [], []
        for start, stop in self.words:
            size = stop - start
            firsts += [starts[size] + position for position in range(size)]
            steps += [size] * size
        first, step = torch.tensor(firsts, device=device), torch.tensor(steps, device=device)
        return first + torch.arange(count, device=device)[:, None] * step


@lru_cache(maxsize=256)
def plan_masks(before: tuple[Tokens, ...]) -> MaskPlan:
    """Plan the masks for words.

    Parameters
    ----------
    before : for each token of the words, the preceding tokens of its word (`PVP.before`)

    Examples
    --------
    >>> plan_masks(((), (), (7,), ()))
    MaskPlan(sizes=(1, 2), words=((0, 1), (1, 3), (3, 4)))
    """
    starts = [i for i, context in enumerate(before) if not context]
    words = tuple(zip(starts, [*starts[1:], len(before)], strict=True))
    return MaskPlan(tuple(sorted({stop - start for start, stop in words})), words)


def cost_per_text(length: float, sizes: Sequence[int], in_turn: bool) -> float:
    """Return how many tokens a masked language model reads to score all words for a text.

    Parameters
    ----------
    length : tokens of the filled pattern with one mask
    sizes : number of tokens of each word
    in_turn : whether the tokens of a word are scored one after the other

    Examples
    --------
    >>> cost_per_text(20, [1, 1, 3, 3, 3], False), cost_per_text(20, [1, 1, 3, 3, 3], True)
    (42, 174)
    """
    once = sum(length + size - 1 for size in set(sizes))
    return once + (sum((size - 1) * (length + size - 1) for size in sizes) if in_turn else 0)


def repeat_masks(
    batch: Mapping[str, Tensor], positions: Tensor, sizes: Sequence[int], rest: int = 0
) -> dict[str, Tensor]:
    """Return each row once for each number of masks, in blocks.

    Parameters
    ----------
    batch : ``input_ids``, ``attention_mask`` and others of shape (B, T), and maybe ``lengths`` of shape (B,)
    positions : position of the mask in each row, shape (B - rest,)
    sizes : number of masks of each block
    rest : number of last rows that stay as they are, after the blocks

    Returns
    -------
    The batch with rows of T + max(sizes) - 1 tokens; ``rows`` and ``positions`` locate the masks, see
    `MaskPlan.places`
    """
    count, width = batch["input_ids"].shape
    texts, most, device = count - rest, max(sizes), positions.device
    columns = torch.arange(width + most - 1, device=device)
    mask = positions[:, None]
    sources = [torch.where(columns <= mask, columns, torch.maximum(mask, columns - (size - 1))) for size in sizes]
    rows = torch.arange(texts, device=device)
    source = torch.cat([*sources, columns.expand(rest, -1)])
    origin = torch.cat([*([rows] * len(sizes)), torch.arange(texts, count, device=device)])[:, None]
    inside, source = source < width, source.clamp(max=width - 1)
    result = {
        name: batch[name][origin, source] for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch
    }
    result["attention_mask"] = result["attention_mask"] * inside
    offsets = [torch.arange(size, device=device) for size in sizes]
    result["rows"] = torch.cat([(block * texts + rows).repeat_interleave(size) for block, size in enumerate(sizes)])
    result["positions"] = torch.cat([(mask + offset).flatten() for offset in offsets])
    if "lengths" in batch:
        lengths = batch["lengths"]
        result["lengths"] = torch.cat([*(lengths[:texts] + size - 1 for size in sizes), lengths[texts:]])
    return result
