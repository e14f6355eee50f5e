"""Multi-token words: plan what a model must read to score all of their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Paths:
    """Prefixes of words, covered by as few rows as possible.

    Attributes
    ----------
    rows : the maximal prefixes; a single empty one if all words are single tokens
    contexts : all distinct prefixes, in order of first use
    row_of : for each context, the index of a row that starts with it
    """

    rows: tuple[Tokens, ...]
    contexts: tuple[Tokens, ...]
    row_of: tuple[int, ...]

    @property
    def width(self) -> int:
        """Length of the longest row."""
        return max(map(len, self.rows))

    def padded(self, device: torch.device) -> Tensor:
        """Return the rows as int64 tensor of shape (P, width), zero-padded on the right."""
        rows = [row + (0,) * (self.width - len(row)) for row in self.rows]
        return torch.tensor(rows, dtype=torch.long, device=device).view(len(rows), self.width)


@lru_cache(maxsize=256)
def plan_paths(before: tuple[Tokens, ...]) -> Paths:
    """Plan the rows for words.

    Parameters
    ----------
    before : for each token of the words, the preceding tokens of its word (`PVP.before`)

    Examples
    --------
    >>> plan_paths(((), (7,), (7, 8), (), (5,))).rows
    ((7, 8), (5,))
    """
    contexts = tuple(dict.fromkeys(before))
    rows = tuple(c for c in contexts if not any(len(o) > len(c) and o[: len(c)] == c for o in contexts))
    row_of = tuple(next(i for i, row in enumerate(rows) if row[: len(c)] == c) for c in contexts)
    return Paths(rows, contexts, row_of)


def score_tokens(logits: Sequence[Tensor], words: Tensor, before: Sequence[Tokens], paths: Paths) -> Tensor:
    """Compute log-probabilities of the tokens of words.

    Parameters
    ----------
    logits : for each context of `paths`, the next-token logits, shape (B, V)
    words : int64 tensor of shape (W,), the tokens to score
    before : for each of them, its context
    paths : result of `plan_paths(before)`

    Returns
    -------
    float32 tensor of shape (B, W)
    """
    number = {context: i for i, context in enumerate(paths.contexts)}
    places = [number[context] for context in before]
    with torch.autocast(words.device.type, enabled=False):
        if len(logits) == 1:
            return F.log_softmax(logits[0].float(), dim=-1)[:, words]
        columns: dict[int, Tensor] = {}
        for which, values in enumerate(logits):  # one context at a time, to save memory
            asked = [i for i, place in enumerate(places) if place == which]
            found = F.log_softmax(values.float(), dim=-1)[:, words[asked]]
            columns |= dict(zip(asked, found.unbind(dim=1), strict=True))
    return torch.stack([columns[i] for i in range(len(places))], dim=1)
