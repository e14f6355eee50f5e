"""Speed of labeling, compared with the research code and with what the machine can do at most.

    python benchmarks/labelling.py agnews
    python benchmarks/labelling.py yelp --precision fp32

Both sides go from texts to label scores. The reference takes the same time for every text, so a few texts are enough.
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
@click.argument("name", default="agnews", metavar="TASK")
@click.option("--precision", default="auto", show_default=True, help="Precision of pet; the reference uses float32.")
@click.option("--rows", default=2048, show_default=True, help="Texts that pet labels.")
@click.option("--reference-rows", default=16, show_default=True, help="Texts that the reference labels.")
@common.options
def main(
    name: str, precision: str, rows: int, reference_rows: int, model: Path, data: Path, threads: int, clock: str,
    rounds: int, output: Path,
) -> None:  # fmt: skip
    """Print the ratio of the speeds and the share of the machine's limit."""
    torch.set_num_threads(threads)
    from pet.recipe import make_recipe
    from pet.task.task import Task
    from pet.training.device import make_accelerator

    task = Task.load(name)
    first = common.FirstPattern(task, model, make_recipe("default", {"max_length": reference.LENGTH}))
    texts = common.read_rows(data, name, "unlabeled", rows, task.fields)
    rows = len(texts)
    table, lm, accelerator = first.table(texts), first.open(), make_accelerator("cpu", precision)
    network, pattern = lm.model, task.patterns[0]
    words = reference.word_ids(pattern.verbalizer.words, task.labels, first.tokenizer)

    def pet() -> Any:
        return first.score(lm, first.tokenize(table), accelerator)

    def research() -> Any:
        source = pattern.template.source
        examples = [reference.fill(source, row, first.tokenizer) for row in texts[:reference_rows]]
        return reference.score(network, examples, words)

    differ = float(abs(pet()[:reference_rows] - research().numpy()).max())
    dtype = common.computed_in(accelerator)
    products = limit.products(network.config, dtype)
    # The limit takes turns as well, so that a slow minute affects it, too.
    seconds = common.alternate({"pet": pet, "reference": research, **products}, common.CLOCKS[clock], rounds)
    lengths = first.pvp.encoder.encode(first.tokenize(table)).ids.lengths
    work = limit.encoder_flops(network.config, lengths) / seconds["pet"]
    most = limit.rates(network.config, {library: seconds[library] for library in products})
    speed = {"pet": rows / seconds["pet"], "reference": min(reference_rows, rows) / seconds["reference"]}
    ratio, precision = speed["pet"] / speed["reference"], common.dtype_name(dtype)
    figures = {
        "task": name,
        "model": model.name,
        "precision": precision,
        "rows": rows,
        "tokens_a_row": round(float(lengths.mean()), 1),
        "rows_a_second": {side: round(value, 1) for side, value in speed.items()},
        "ratio": round(ratio, 2),
        **limit.figures(work, most),
        "largest_difference": round(differ, 6),
    }
    common.record(output, "labelling", threads, clock, figures)
    click.echo(
        f"{name}, {precision}: {speed['pet']:.0f} texts per second, {ratio:.1f} times as fast as the reference "
        f"({speed['reference']:.1f}); {limit.summary(work, most)}"
    )


if __name__ == "__main__":
    sys.exit(main())
