"""What this machine could do at most: its rate of matrix products, and the work that texts need.

    python benchmarks/limit.py --model models/mini-en

The rate is measured in this process with the shapes of the model's own linear layers, with each of the libraries
that torch brings. The work is that of the whole encoder for real tokens: no padding, attention
included, all layers for all tokens. A program that gets by with less work may come out above 100 %.
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

ROWS = 1024  # tokens in the products: as many as a batch of labeling on a processor has
REPEAT = 20


def shapes(config: Any) -> list[tuple[int, int]]:
    """(inputs, outputs) of the linear layers of one layer."""
    width, inner = int(config.hidden_size), int(config.intermediate_size)
    return [(width, width)] * 4 + [(width, inner), (inner, width)]


def encoder_flops(config: Any, lengths: Any) -> float:
    """Floating-point operations of an encoder for rows of so many tokens each, forward.

    A product with a matrix of (n, m) takes 2 n m a token; attention multiplies with the keys and the values of
    each token of the row, 4 T D a token.
    """
    lengths = np.asarray(lengths, dtype=np.float64)
    linear = sum(2.0 * n * m for n, m in shapes(config))
    attention = 4.0 * int(config.hidden_size)
    return float(config.num_hidden_layers * (linear * lengths + attention * lengths**2).sum())


def training_flops(config: Any, lengths: Any, hidden_tokens: int) -> float:
    """Forward and backward, which is twice the forward: the encoder, and hidden tokens over the vocabulary."""
    projection = 2.0 * hidden_tokens * int(config.hidden_size) * int(config.vocab_size)
    return 3 * (encoder_flops(config, lengths) + projection)


def products(config: Any, dtype: torch.dtype) -> dict[str, common.Work]:
    """Functions that multiply `REPEAT` times with each of a layer's matrices, by library."""
    operands = [(torch.randn(ROWS, n).to(dtype), torch.randn(m, n).to(dtype)) for n, m in shapes(config)]

    def dense() -> None:
        with torch.no_grad():
            for _ in range(REPEAT):
                for x, weight in operands:
                    F.linear(x, weight)

    found: dict[str, common.Work] = {"torch": dense}
    if dtype == torch.float32 and torch.backends.mkldnn.is_available():
        # oneDNN's own layout: torch multiplies float32 with another library, which need not be as fast
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
    """Floating-point operations a second of each of `products`, from the seconds that it took."""
    work = REPEAT * sum(2.0 * ROWS * n * m for n, m in shapes(config))
    return {library: work / each for library, each in seconds.items()}


def rate(config: Any, dtype: torch.dtype, clock: common.Clock, rounds: int = 5) -> dict[str, float]:
    """Floating-point operations a second in products of the model's shapes, by library."""
    return rates(config, common.alternate(products(config, dtype), clock, rounds))


def figures(done: float, most: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """The limits, and which shares of them so many operations a second are, for a line."""
    return {
        "limit_gflops": {library: round(each / 1e9) for library, each in most.items()},
        "share_of_limit": {library: round(done / each, 3) for library, each in most.items()},
    }


def told(done: float, most: Mapping[str, float]) -> str:
    """The same as a sentence's end."""
    return ", ".join(f"{100 * done / each:.0f} % of {name}'s {each / 1e9:.0f} GFLOP/s" for name, each in most.items())


@click.command()
@common.options
def main(model: Path, threads: int, clock: str, **_: Any) -> None:
    """Print the rates of this machine."""
    torch.set_num_threads(threads)
    config = common.model_config(model)
    for dtype in common.dtypes():
        for library, figure in rate(config, dtype, common.CLOCKS[clock]).items():
            name = str(dtype).removeprefix("torch.")
            click.echo(f"{name}, {library}: {figure / 1e9:.0f} GFLOP/s with {threads} threads")


if __name__ == "__main__":
    sys.exit(main())
