"""Words of several tokens: what a model must read so that all of their tokens are scored."""

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
    """Beginnings of words, as few rows as hold them all.

    Attributes
    ----------
    rows : the longest beginnings, the only one being empty where every word is one token
    contexts : every different beginning in the order of its first use
    row_of : for each context the row that begins with it
    """

    rows: tuple[Tokens, ...]
    contexts: tuple[Tokens, ...]
    row_of: tuple[int, ...]

    @property
    def width(self) -> int:
        return max(map(len, self.rows))

    def padded(self, device: torch.device) -> Tensor:
        """The rows as int64 of shape (P, width), zeros behind their ends, which nothing before them sees."""
        rows = [row + (0,) * (self.width - len(row)) for row in self.rows]
        return torch.tensor(rows, dtype=torch.long, device=device).view(len(rows), self.width)


@lru_cache(maxsize=256)
def plan_paths(before: tuple[Tokens, ...]) -> Paths:
    """The paths of words whose tokens have these tokens of the word before them."""
    contexts = tuple(dict.fromkeys(before))
    rows = tuple(c for c in contexts if not any(len(o) > len(c) and o[: len(c)] == c for o in contexts))
    row_of = tuple(next(i for i, row in enumerate(rows) if row[: len(c)] == c) for c in contexts)
    return Paths(rows, contexts, row_of)


def score_tokens(logits: Sequence[Tensor], words: Tensor, before: Sequence[Tokens], paths: Paths) -> Tensor:
    """Logarithms of the probabilities of words' tokens.

    Parameters
    ----------
    logits : for each context of `paths` the logits of what comes next, shape (B, V)
    words : int64 tensor of shape (W,), the tokens that are asked for
    before : for each of them its context

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
        for which, values in enumerate(logits):  # one vocabulary at a time
            asked = [i for i, place in enumerate(places) if place == which]
            found = F.log_softmax(values.float(), dim=-1)[:, words[asked]]
            columns |= dict(zip(asked, found.unbind(dim=1), strict=True))
    return torch.stack([columns[i] for i in range(len(places))], dim=1)
