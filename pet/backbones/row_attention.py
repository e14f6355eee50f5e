"""Attention within short packed rows, in training on a CPU: one function with its own backward pass.

torch's automatic gradient would make about forty small operations of every row in every layer, and half of the time
would pass between them. Here rows of similar length are padded to one length, and each operation sees all rows of such
a group. The lengths of groups are multiples of sixteen, so that the library has compiled code for most of them. The
numbers are those of the plain operations, up to the rounding of sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pet.backbones.dropout import draw_kept

Run = tuple[int, int]  # rows, tokens in each row
_SIMILAR = 0.6  # of the longest row: shorter ones belong to another group
_ALIGNED = 16  # tokens


class RowGroups:
    """Rows of packed tokens in groups of similar length.

    Parameters
    ----------
    runs : neighboring rows of equal length
    heads : number of heads
    """

    def __init__(self, runs: Sequence[Run], heads: int):
        self.runs, self.heads = runs, heads
        lengths = torch.tensor([length for count, length in runs for _ in range(count)])
        starts = lengths.cumsum(0) - lengths
        groups: list[list[int]] = []
        for row in lengths.argsort(descending=True, stable=True).tolist():
            if not groups or lengths[row] < _SIMILAR * lengths[groups[-1][0]]:
                groups.append([])
            groups[-1].append(row)
        tokens, rows, self.away = [], [], []
        for group in groups:
            length, offset = lengths[group][:, None], torch.arange(-(-int(lengths[group[0]]) // _ALIGNED) * _ALIGNED)
            padding = offset >= length
            tokens.append((starts[group][:, None] + offset).masked_fill(padding, int(lengths.sum())))
            rows.append(torch.tensor(group)[:, None])
            self.away.append(torch.zeros(padding.shape).masked_fill(padding, -torch.inf)[:, None, None])
        self.tokens = Places(tokens, int(lengths.sum()), heads)  # every token
        self.rows = Places(rows, len(lengths), heads)  # one token of each row
        self.slots = {row: (number, slot) for number, group in enumerate(groups) for slot, row in enumerate(group)}

    def draw_kept(self, keep: Sequence[Tensor], drop: float) -> None:
        """Fill tensors of shape (rows, heads, queries, width) for each group with dropout factors; padding gets 0.

        Random numbers are drawn row by row, for real tokens only, so that they do not depend on the groups.
        """
        row = 0
        for count, length in self.runs:
            queries = length if keep[0].shape[2] > 1 else 1
            drawn = keep[0].new_empty(count, self.heads, queries, length)
            draw_kept(drawn, drop)
            for own in drawn:
                group, slot = self.slots[row]
                keep[group][slot, :, :queries, :length] = own
                row += 1


class Places:
    """Where the heads of tokens are when rows are padded, and where they are packed.

    Parameters
    ----------
    tokens : for each group, positions of tokens, shape (rows, width); `count` stands for padding
    count : number of tokens
    heads : number of heads
    """

    def __init__(self, tokens: Sequence[Tensor], count: int, heads: int):
        self.shapes = [(len(group) * heads, group.shape[1]) for group in tokens]
        head = torch.arange(heads)[:, None]
        self._source = torch.cat([(group[:, None] * heads + head).flatten() for group in tokens])
        real = (self._source < count * heads).nonzero()[:, 0]
        self._target = torch.empty(count * heads, dtype=torch.int64)
        self._target[self._source[real]] = real
        self._heads = heads

    def pad(self, values: Tensor) -> Tensor:
        """Return values of shape (tokens, D) as (places, D / heads), with 0 for padding."""
        return F.pad(values, (0, 0, 0, 1)).view(-1, values.shape[1] // self._heads).index_select(0, self._source)

    def pack(self, padded: Tensor) -> Tensor:
        """The inverse of `pad`."""
        return padded.index_select(0, self._target).view(-1, self._heads * padded.shape[1])

    def split(self, padded: Tensor) -> list[Tensor]:
        """Return the places of each group, shape (rows × heads, width, D / heads)."""
        sizes = [count * width for count, width in self.shapes]
        parts = zip(padded.split(sizes), self.shapes, strict=True)
        return [part.view(*shape, padded.shape[1]) for part, shape in parts]


class RowAttention(torch.autograd.Function):
    """softmax(q k / sqrt(d)) v within each row, with dropout of the shares."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, groups: RowGroups, drop: float) -> Tensor:
        """Return what each query gathers, shape (queries, D).

        Parameters
        ----------
        query : of all tokens, shape (tokens, D), or of one token of each row, shape (rows, D)
        key, value : of all tokens, shape (tokens, D)
        groups : the rows
        drop : probability with which a share is dropped
        """
        asking = groups.tokens if len(query) == len(key) else groups.rows
        scale = (query.shape[1] // groups.heads) ** -0.5
        query, key, value = asking.pad(query) * scale, groups.tokens.pad(key), groups.tokens.pad(value)
        pairs = _Pairs(asking, groups.tokens)
        scores = query.new_empty(pairs.size)
        for own, asked, seen in zip(pairs.split(scores), asking.split(query), groups.tokens.split(key), strict=True):
            torch.bmm(asked, seen.transpose(1, 2), out=own)
        shares = scores.float()
        for own, away in zip(pairs.split(shares), groups.away, strict=True):
            own.view(len(away), groups.heads, *own.shape[1:]).add_(away)
            torch.softmax(own, -1, out=own)
        dropped = shares.to(value.dtype)
        keep = None
        if drop:
            keep = torch.zeros_like(dropped)
            groups.draw_kept([own.view(-1, groups.heads, *own.shape[1:]) for own in pairs.split(keep)], drop)
            dropped = dropped * keep
        out = torch.empty_like(query)
        for to, own, seen in zip(asking.split(out), pairs.split(dropped), groups.tokens.split(value), strict=True):
            torch.bmm(own, seen, out=to)
        ctx.save_for_backward(query, key, value, shares, dropped, keep)
        ctx.groups, ctx.asking, ctx.pairs, ctx.scale = groups, asking, pairs, scale
        return asking.pack(out)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:  # type: ignore[override]
        """Return the gradients of query, key and value."""
        query, key, value, shares, dropped, keep = ctx.saved_tensors
        asking, tokens, pairs = ctx.asking, ctx.groups.tokens, ctx.pairs
        given, slope, values = asking.pad(gradient), torch.empty_like(dropped), torch.empty_like(value)
        parts = zip(
            pairs.split(dropped), asking.split(given), tokens.split(value), tokens.split(values), pairs.split(slope),
            strict=True,
        )  # fmt: skip
        for own, get, seen, to_value, to_share in parts:
            torch.bmm(own.transpose(1, 2), get, out=to_value)
            torch.bmm(get, seen.transpose(1, 2), out=to_share)
        if keep is not None:
            slope *= keep
        wide = slope.float()
        for own, to in zip(pairs.split(shares), pairs.split(wide), strict=True):
            to.copy_(torch._softmax_backward_data(to, own, -1, torch.float32))
        slope = wide.to(query.dtype)
        queries, keys = torch.empty_like(query), torch.empty_like(key)
        parts = zip(
            pairs.split(slope), asking.split(query), tokens.split(key), asking.split(queries), tokens.split(keys),
            strict=True,
        )  # fmt: skip
        for own, asked, seen, to_query, to_key in parts:
            torch.bmm(own, seen, out=to_query)
            torch.bmm(own.transpose(1, 2), asked, out=to_key)
        return asking.pack(queries * ctx.scale), tokens.pack(keys), tokens.pack(values), None, None


class _Pairs:
    """The pairs of queries and keys of each group."""

    def __init__(self, queries: Places, keys: Places):
        self._shapes = [
            (count, asked, seen) for (count, asked), (_, seen) in zip(queries.shapes, keys.shapes, strict=True)
        ]
        self._sizes = [count * asked * seen for count, asked, seen in self._shapes]
        self.size = sum(self._sizes)

    def split(self, flat: Tensor) -> list[Tensor]:
        """Return the pairs of each group, shape (rows × heads, queries, keys)."""
        return [part.view(shape) for part, shape in zip(flat.split(self._sizes), self._shapes, strict=True)]
