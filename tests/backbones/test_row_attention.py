"""Attention within rows as one function: the numbers and gradients of the plain operations."""

from __future__ import annotations

import pytest
import torch

from pet.backbones.dropout import dropout
from pet.backbones.row_attention import RowAttention, RowGroups

HEADS, WIDTH = 3, 6
RUNS = [(2, 3), (1, 25), (1, 1), (1, 33), (1, 3)]  # three groups, all but one row of them padded
TOKENS = sum(count * length for count, length in RUNS)


def _plain(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, drop: float) -> torch.Tensor:
    mixed = []
    tokens = [count * length for count, length in RUNS]
    asked = query.split(tokens if len(query) == TOKENS else [count for count, _ in RUNS])
    for (count, _), *part in zip(RUNS, asked, key.split(tokens), value.split(tokens), strict=True):
        q, k, v = (x.view(count, -1, HEADS, WIDTH // HEADS).transpose(1, 2) for x in part)
        shares = (q * q.shape[-1] ** -0.5 @ k.transpose(2, 3)).softmax(dim=-1, dtype=torch.float32).to(v.dtype)
        mixed.append((dropout(shares, drop) @ v).transpose(1, 2).flatten(2).flatten(0, 1))
    return torch.cat(mixed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("drop", [0.0, 0.5])
@pytest.mark.parametrize("asked", [TOKENS, sum(count for count, _ in RUNS)], ids=["all", "one-per-row"])
def test_values_and_gradients_are_those_of_the_plain_operations(dtype, drop, asked):
    generator = torch.Generator().manual_seed(2)
    start = [torch.randn(count, WIDTH, generator=generator).to(dtype) for count in (asked, TOKENS, TOKENS)]
    gradient = torch.randn(asked, WIDTH, generator=generator).to(dtype)
    found = []
    for attend in (_plain, lambda *x: RowAttention.apply(*x[:3], RowGroups(RUNS, HEADS), x[3])):
        parts = [part.clone().requires_grad_() for part in start]
        torch.manual_seed(5)
        out = attend(*parts, drop)
        out.backward(gradient)
        found.append([out.detach(), *(part.grad for part in parts)])
    exact = {"atol": 1e-6, "rtol": 1e-5} if dtype == torch.float32 else {"atol": 0.02, "rtol": 0.02}
    for plain, own in zip(*found, strict=True):
        assert own.dtype == dtype
        torch.testing.assert_close(own, plain, **exact)
