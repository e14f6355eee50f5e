"""Labeling against the way of the research code, and against what the machine could do at most.

    python benchmarks/labeling.py agnews
    python benchmarks/labeling.py yelp --precision fp32

Both sides go from texts to label scores. The reference takes the same time for every text, so a few are enough.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import common
import limit
import reference
import torch


@click.command()
@click.argument("name", default="agnews")
@click.option("--precision", default="auto", show_default=True)
@click.option("--rows", default=2048, show_default=True)
@click.option("--reference-rows", default=16, show_default=True)
@common.options
def main(
    name: str, precision: str, rows: int, reference_rows: int, model: Path, data: Path, threads: int, clock: str,
    rounds: int, output: Path,
) -> None:  # fmt: skip
    """Print the ratio of the speeds and the share of the limit."""
    torch.set_num_threads(threads)
    from datasets import Dataset

    from pet.backbones.load import load_masked_lm, load_tokenizer
    from pet.backbones.masked import MaskedLM
    from pet.cloze.encode import token_keys
    from pet.cloze.pvp import bind_pattern
    from pet.cloze.tokens import tokenize_fields
    from pet.members.scoring import score_rows
    from pet.recipe import make_recipe
    from pet.task.task import Task
    from pet.training.device import make_accelerator

    task, recipe = Task.load(name), make_recipe()
    texts = common.read_rows(data, name, "unlabeled", rows, task.fields)
    table = Dataset.from_list([{field: row[field] for field in task.fields} for row in texts])
    tokenizer, network = load_tokenizer(str(model)), load_masked_lm(str(model))
    pattern = task.patterns[0]
    pvp = bind_pattern(pattern, task.labels, tokenizer, reference.LENGTH)
    accelerator = make_accelerator("cpu", precision)
    lm, plain = MaskedLM(network), pvp.encoder.plain
    keys = token_keys([pvp.encoder])
    words = [[reference.word_id(w, tokenizer) for w in pattern.verbalizer.words[label]] for label in task.labels]

    def pet() -> Any:
        tokens = tokenize_fields(table, keys, plain)
        return score_rows(lm, tokenizer, pvp, tokens, accelerator, max_tokens=recipe.inference.tokens)

    def research() -> Any:
        source = pattern.template.source
        examples = [reference.fill(source, row, tokenizer) for row in texts[:reference_rows]]
        return reference.score(network, examples, words)

    differ = float(abs(pet()[:reference_rows] - research().numpy()).max())
    dtype = common.computed_in(accelerator)
    products = limit.products(network.config, dtype)
    # The limit takes turns, too: a slow minute is its own as well.
    seconds = common.alternate({"pet": pet, "reference": research, **products}, common.CLOCKS[clock], rounds)
    lengths = pvp.encoder.encode(tokenize_fields(table, keys, plain)).ids.lengths
    work = limit.encoder_flops(network.config, lengths) / seconds["pet"]
    most = limit.rates(network.config, {library: seconds[library] for library in products})
    speed = {"pet": rows / seconds["pet"], "reference": reference_rows / seconds["reference"]}
    figures = {
        "task": name,
        "model": model.name,
        "precision": str(dtype).removeprefix("torch."),
        "rows": rows,
        "tokens_a_row": round(float(lengths.mean()), 1),
        "rows_a_second": {side: round(value, 1) for side, value in speed.items()},
        "ratio": round(speed["pet"] / speed["reference"], 2),
        **limit.figures(work, most),
        "largest_difference": round(differ, 6),
    }
    common.record(output, "labeling", threads, clock, figures)
    click.echo(
        f"{name}, {figures['precision']}: {speed['pet']:.0f} texts a second, {figures['ratio']:.1f} times the "
        f"reference's {speed['reference']:.1f}; {limit.told(work, most)}"
    )


if __name__ == "__main__":
    sys.exit(main())
