"""How the cost of a stage grows with its input: CPU seconds at several sizes, and the fitted exponent.

    python benchmarks/growth.py
    python benchmarks/growth.py --scale 10

Reading a pool, evaluating predictions of many labels, and tokenizing a long text. An exponent of 1 means that twice the
input takes twice the time; the fixed cost of small inputs lowers it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import common
import numpy as np

LIMIT = 1.05  # a larger exponent needs a reason
TEXTS = 500  # whose labels are evaluated


def pool(folder: Path, rows: int) -> Callable[[], object]:
    """Reading a JSONL pool of this many rows in chunks."""
    from pet.data.read import iter_table

    path = folder / f"{rows}.jsonl"
    path.write_text(
        "".join(f'{{"id": "{i}", "text": "the team won game {i}"}}\n' for i in range(rows)), encoding="utf-8"
    )
    return lambda: sum(len(chunk) for chunk in iter_table(str(path), ["text"]))


def labels(_folder: Path, count: int) -> Callable[[], object]:
    """Evaluating predictions of this many labels."""
    from pet.evaluate import evaluate

    generator = np.random.default_rng(0)
    scores, gold = generator.random((TEXTS, count)), generator.integers(0, count, TEXTS)
    scores /= scores.sum(axis=1, keepdims=True)
    return lambda: evaluate(scores, gold, [str(i) for i in range(count)])


def length(_folder: Path, characters: int) -> Callable[[], object]:
    """Tokenizing a text of this many characters for a model that reads 256 tokens."""
    from pet.backbones.load import load_tokenizer
    from pet.cloze.tokens import PlainTextTokenizer

    plain = PlainTextTokenizer(load_tokenizer("mini-en"), 256)
    text = ("the market fell after the vote. " * (characters // 32 + 1))[:characters]
    return lambda: plain.encode([text])


STAGES = {
    "rows of a pool": (pool, (1000, 4000, 16_000)),
    "labels": (labels, (50, 200, 800)),
    "characters of a text": (length, (1000, 10_000, 100_000)),
}


@click.command()
@click.option("--scale", default=1, show_default=True, help="Factor of all sizes.")
@click.option("--rounds", default=3, show_default=True, help="Report the best of this many rounds.")
@common.output_option(common.SPEED)
def main(scale: int, rounds: int, output: Path) -> None:
    """Print the CPU seconds of every stage and size, and the fitted exponents."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="pet-growth-") as name:
        for stage, (prepare, sizes) in STAGES.items():
            seconds = {size * scale: _seconds(prepare(Path(name), size * scale), rounds) for size in sizes}
            exponent = float(np.polyfit(np.log(list(seconds)), np.log(list(seconds.values())), 1)[0])
            figures[stage] = {"seconds": seconds, "exponent": round(exponent, 2)}
            shown = ", ".join(f"{size:,}: {value:.3f} s" for size, value in seconds.items())
            verdict = "" if exponent <= LIMIT else f"  (above {LIMIT})"
            click.echo(f"{stage}: exponent {exponent:.2f}{verdict}  ({shown})")
    common.record(output, "growth", 1, "cpu", figures)


def _seconds(work: Callable[[], object], rounds: int) -> float:
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return max(best, 1e-4)


if __name__ == "__main__":
    main()
