"""Labeling in int8 (`--quantize`) beside fp32, and beside bf16 where the processor multiplies in it.

    python benchmarks/quantize.py agnews

A model of each kind scores the same texts in turn; labels are compared with those of fp32.
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
@click.argument("name", default="agnews")
@click.option("--rows", default=512, show_default=True)
@common.options
def main(
    name: str, rows: int, model: Path, data: Path, threads: int, clock: str, rounds: int, output: Path
) -> None:  # fmt: skip
    """Print texts a second of each kind, and how many labels stay."""
    torch.set_num_threads(threads)
    from datasets import Dataset

    from pet.backbones.int8 import quantize_linears
    from pet.backbones.load import load_masked_lm, load_tokenizer
    from pet.backbones.masked import MaskedLM
    from pet.cloze.encode import token_keys
    from pet.cloze.pvp import bind_pattern
    from pet.cloze.tokens import tokenize_fields
    from pet.members.scoring import score_rows
    from pet.recipe import make_recipe
    from pet.task.task import Task
    from pet.training.device import make_accelerator

    task, max_tokens = Task.load(name), make_recipe().inference.tokens
    texts = common.read_rows(data, name, "unlabeled", rows, task.fields)
    tokenizer = load_tokenizer(str(model))
    pvp = bind_pattern(task.patterns[0], task.labels, tokenizer, 256)
    plain = pvp.encoder.plain
    table = Dataset.from_list([{field: row[field] for field in task.fields} for row in texts])
    tokens = tokenize_fields(table, token_keys([pvp.encoder]), plain)
    exact, small = (MaskedLM(load_masked_lm(str(model))) for _ in range(2))
    quantize_linears(small.model, str(model))
    names = {torch.float32: "fp32", torch.bfloat16: "bf16"}
    precisions = [names[dtype] for dtype in common.dtypes()]
    kinds = {**{p: (exact, p) for p in precisions}, **{f"int8+{p}": (small, p) for p in precisions}}
    scores: dict[str, Any] = {}

    def scorer(kind: str) -> Any:
        lm, precision = kinds[kind]

        def score() -> None:
            accelerator = make_accelerator("cpu", precision)
            scores[kind] = score_rows(lm, tokenizer, pvp, tokens, accelerator, max_tokens=max_tokens)

        return score

    seconds = common.alternate({kind: scorer(kind) for kind in kinds}, common.CLOCKS[clock], rounds)
    labels = {kind: values.argmax(axis=1) for kind, values in scores.items()}
    figures = {
        "task": name,
        "model": model.name,
        "rows": rows,
        "rows_a_second": {kind: round(rows / s, 1) for kind, s in seconds.items()},
        "against_fp32": {kind: round(seconds["fp32"] / s, 2) for kind, s in seconds.items()},
        "same_labels": {kind: round(float(np.mean(found == labels["fp32"])), 4) for kind, found in labels.items()},
    }
    common.record(output, "quantize", threads, clock, figures)
    for kind in kinds:
        click.echo(
            f"{name}, {kind}: {figures['rows_a_second'][kind]:.0f} texts a second, "
            f"{figures['against_fp32'][kind]:.2f} times fp32; {100 * figures['same_labels'][kind]:.1f} % of its labels"
        )


if __name__ == "__main__":
    sys.exit(main())
