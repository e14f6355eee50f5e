"""The limit of this machine: its rate of matrix products, and the work that texts require.

    python benchmarks/limit.py --model models/mini-en

The rate is measured with the shapes of the model's own linear layers, for each library that comes with PyTorch. The
work is that of the whole encoder for all tokens without padding, including attention. A program that needs less work
than that can exceed 100%.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import common
import numpy as np
import torch
from torch.nn import functional as F

ROWS = 1024  # tokens in each product: the size of an inference batch on a CPU
REPEAT = 20


def shapes(config: Any) -> list[tuple[int, int]]:
    """Return (inputs, outputs) of the matrices of one layer."""
    width, inner = int(config.hidden_size), int(config.intermediate_size)
    return [(width, width)] * 4 + [(width, inner), (inner, width)]


def encoder_flops(config: Any, lengths: Any) -> float:
    """Count the floating-point operations of an encoder's forward pass for rows of these lengths, in tokens.

    A product with a matrix of shape (n, m) takes 2 n m operations per token. Attention multiplies with the keys and
    values of all T tokens of the row, 4 T D operations per token.
    """
    lengths = np.asarray(lengths, dtype=np.float64)
    linear = sum(2.0 * n * m for n, m in shapes(config))
    attention = 4.0 * int(config.hidden_size)
    return float(config.num_hidden_layers * (linear * lengths + attention * lengths**2).sum())


def training_flops(config: Any, lengths: Any, hidden_tokens: int) -> float:
    """Count operations of forward and backward (twice the forward): encoder, and hidden tokens over the vocabulary."""
    projection = 2.0 * hidden_tokens * int(config.hidden_size) * int(config.vocab_size)
    return 3 * (encoder_flops(config, lengths) + projection)


def products(config: Any, dtype: torch.dtype) -> dict[str, common.Work]:
    """Return functions that multiply `REPEAT` times with each matrix of a layer, by library."""
    operands = [(torch.randn(ROWS, n).to(dtype), torch.randn(m, n).to(dtype)) for n, m in shapes(config)]

    def dense() -> None:
        with torch.no_grad():
            for _ in range(REPEAT):
                for x, weight in operands:
                    F.linear(x, weight)

    found: dict[str, common.Work] = {"torch": dense}
    if dtype == torch.float32 and torch.backends.mkldnn.is_available():
        # In oneDNN's own layout: PyTorch multiplies float32 with another library, which can be slower.
        special = [(x.to_mkldnn(), weight.to_mkldnn()) for x, weight in operands]
        bias = {weight.shape[0]: torch.zeros(weight.shape[0]).to_mkldnn() for _, weight in operands}

        def onednn() -> None:
            with torch.no_grad():
                for _ in range(REPEAT):
                    for x, weight in special:
                        F.linear(x, weight, bias[weight.shape[0]])

        found["onednn"] = onednn
    return found


def rates(config: Any, seconds: Mapping[str, float]) -> dict[str, float]:
    """Compute operations per second of each of `products` from its seconds."""
    work = REPEAT * sum(2.0 * ROWS * n * m for n, m in shapes(config))
    return {library: work / each for library, each in seconds.items()}


def rate(config: Any, dtype: torch.dtype, clock: common.Clock, rounds: int = 5) -> dict[str, float]:
    """Measure operations per second in products of the model's shapes, by library."""
    return rates(config, common.alternate(products(config, dtype), clock, rounds))


def figures(done: float, most: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Return the limits and the achieved share of each, for a result line. `done` is operations per second."""
    return {
        "limit_gflops": {library: round(each / 1e9) for library, each in most.items()},
        "share_of_limit": {library: round(done / each, 3) for library, each in most.items()},
    }


def summary(done: float, most: Mapping[str, float]) -> str:
    """Format the achieved share of each limit."""
    return ", ".join(f"{100 * done / each:.0f}% of {name}'s {each / 1e9:.0f} GFLOP/s" for name, each in most.items())


@click.command()
@common.options
def main(model: Path, threads: int, clock: str, **_: Any) -> None:
    """Print this machine's rates of matrix products."""
    torch.set_num_threads(threads)
    config = common.model_config(model)
    for dtype in common.dtypes():
        for library, figure in rate(config, dtype, common.CLOCKS[clock]).items():
            click.echo(f"{common.dtype_name(dtype)}, {library}: {figure / 1e9:.0f} GFLOP/s with {threads} thread(s)")


if __name__ == "__main__":
    sys.exit(main())
