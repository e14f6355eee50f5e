"""Labeling in int8 (`--quantize`), compared with fp32, and with bf16 if the CPU supports it.

    python benchmarks/quantize.py agnews

The kinds take turns on the same texts. Their labels are compared with those of fp32.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import common
import numpy as np
import torch


@click.command()
@click.argument("name", default="agnews", metavar="TASK")
@click.option("--rows", default=512, show_default=True, help="Texts to label.")
@common.options
def main(
    name: str, rows: int, model: Path, data: Path, threads: int, clock: str, rounds: int, output: Path
) -> None:  # fmt: skip
    """Print texts per second of each kind, and the share of labels that stay the same."""
    torch.set_num_threads(threads)
    from pet.backbones.int8 import quantize_linears
    from pet.task.task import Task
    from pet.training.device import make_accelerator

    task = Task.load(name)
    first = common.FirstPattern(task, model)
    texts = common.read_rows(data, name, "unlabeled", rows, task.fields)
    rows, tokens = len(texts), first.tokenize(first.table(texts))
    exact, small = first.open(), first.open()
    quantize_linears(small.model, str(model))
    names = {torch.float32: "fp32", torch.bfloat16: "bf16"}
    precisions = [names[dtype] for dtype in common.dtypes()]
    kinds = {**{p: (exact, p) for p in precisions}, **{f"int8+{p}": (small, p) for p in precisions}}
    scores: dict[str, Any] = {}

    def scorer(kind: str) -> common.Work:
        lm, precision = kinds[kind]

        def score() -> None:
            scores[kind] = first.score(lm, tokens, make_accelerator("cpu", precision))

        return score

    seconds = common.alternate({kind: scorer(kind) for kind in kinds}, common.CLOCKS[clock], rounds)
    labels = {kind: values.argmax(axis=1) for kind, values in scores.items()}
    speed = {kind: rows / s for kind, s in seconds.items()}
    ratio = {kind: seconds["fp32"] / s for kind, s in seconds.items()}
    same = {kind: float(np.mean(found == labels["fp32"])) for kind, found in labels.items()}
    figures = {
        "task": name,
        "model": model.name,
        "rows": rows,
        "rows_a_second": {kind: round(value, 1) for kind, value in speed.items()},
        "against_fp32": {kind: round(value, 2) for kind, value in ratio.items()},
        "same_labels": {kind: round(value, 4) for kind, value in same.items()},
    }
    common.record(output, "quantize", threads, clock, figures)
    for kind in kinds:
        click.echo(
            f"{name}, {kind}: {speed[kind]:.0f} texts per second, {ratio[kind]:.2f} times as fast as fp32, "
            f"{100 * same[kind]:.1f}% of the labels the same"
        )


if __name__ == "__main__":
    sys.exit(main())
