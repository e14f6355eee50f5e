"""Attention within short packed rows, in training on a CPU: one function with its own backward pass.

torch's automatic gradient would make about forty small operations of every row in every layer, and half of the time
would pass between them. Here only products and softmax see separate rows. Whatever is computed for each pair of
tokens sees all rows at once. The numbers are those of the plain operations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from pet.backbones.dropout import draw_kept

Run = tuple[int, int]  # rows, tokens in each row


class RowAttention(torch.autograd.Function):
    """softmax(q k / sqrt(d)) v within each row, with dropout of the shares."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, runs: Sequence[Run], heads: int, drop: float
    ) -> Tensor:
        """Return what each token gathers, shape (tokens, D).

        Parameters
        ----------
        query, key, value : of all tokens, shape (tokens, D)
        runs : neighboring rows of equal length
        heads : number of heads
        drop : probability with which a share is dropped
        """
        scale = (query.shape[1] // heads) ** -0.5
        query, key, value = _by_head(query, heads) * scale, _by_head(key, heads), _by_head(value, heads)
        scores = query.new_empty(sum(count * heads * length**2 for count, length in runs))
        for rows, own in _rows(runs, scores, heads):
            torch.bmm(query[:, rows], key[:, rows].transpose(1, 2), out=own)
        shares = scores.float()
        for _, own in _rows(runs, shares, heads):
            torch.softmax(own, -1, out=own)
        dropped = shares.to(value.dtype)
        keep = None
        if drop:
            keep = torch.empty_like(dropped)
            for own in keep.split([count * heads * length**2 for count, length in runs]):
                draw_kept(own, drop)
            dropped = dropped * keep
        out = value.new_empty(value.shape[1], heads, value.shape[2])
        for rows, own in _rows(runs, dropped, heads):
            out[rows].transpose(0, 1).copy_(torch.bmm(own, value[:, rows]))
        ctx.save_for_backward(query, key, value, shares, dropped, keep)
        ctx.runs, ctx.scale = runs, scale
        return out.flatten(1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:  # type: ignore[override]
        """Return the gradients of query, key and value."""
        query, key, value, shares, dropped, keep = ctx.saved_tensors
        heads, runs = len(query), ctx.runs
        given = _by_head(gradient, heads)
        slope = torch.empty_like(dropped)
        values = torch.empty_like(value).transpose(0, 1).contiguous()
        for (rows, own), (_, to) in zip(_rows(runs, dropped, heads), _rows(runs, slope, heads), strict=True):
            values[rows].transpose(0, 1).copy_(torch.bmm(own.transpose(1, 2), given[:, rows]))
            torch.bmm(given[:, rows], value[:, rows].transpose(1, 2), out=to)
        if keep is not None:
            slope *= keep
        wide = slope.float()
        for (_, own), (_, to) in zip(_rows(runs, shares, heads), _rows(runs, wide, heads), strict=True):
            to.copy_(torch._softmax_backward_data(to, own, -1, torch.float32))
        slope = wide.to(query.dtype)
        queries, keys = torch.empty_like(values), torch.empty_like(values)
        for rows, own in _rows(runs, slope, heads):
            queries[rows].transpose(0, 1).copy_(torch.bmm(own, key[:, rows]))
            keys[rows].transpose(0, 1).copy_(torch.bmm(own.transpose(1, 2), query[:, rows]))
        return (queries * ctx.scale).flatten(1), keys.flatten(1), values.flatten(1), None, None, None


def _by_head(values: Tensor, heads: int) -> Tensor:
    """Return values of shape (tokens, D) as contiguous (heads, tokens, D / heads)."""
    return values.view(len(values), heads, -1).transpose(0, 1).contiguous()


def _rows(runs: Sequence[Run], flat: Tensor, heads: int) -> Iterator[tuple[slice, Tensor]]:
    """Yield the tokens of each row, and its part of the values for pairs of tokens: shape (heads, tokens, tokens)."""
    token = start = 0
    for count, length in runs:
        for _ in range(count):
            stop = start + heads * length**2
            yield slice(token, token + length), flat[start:stop].view(heads, length, length)
            token, start = token + length, stop
