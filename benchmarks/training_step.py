"""An update of a member with auxiliary loss, against the research code's and against the machine's limit.

    python benchmarks/training_step.py agnews

Both sides take the default recipe's 8 labeled and 4 unlabeled texts a step and update all weights.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

import click
import common
import limit
import numpy as np
import reference
import torch

WARM = 2  # updates that are not counted


@click.command()
@click.argument("name", default="agnews")
@click.option("--precision", default="auto", show_default=True)
@click.option("--rows", default=512, show_default=True, help="texts of the pool")
@click.option("--steps", default=20, show_default=True)
@common.options
def main(
    name: str, precision: str, rows: int, steps: int, model: Path, data: Path, threads: int, clock: str,
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
    from pet.members.training import ClozeData, member_batches, train_member
    from pet.recipe import make_recipe
    from pet.task.task import Task
    from pet.training.device import make_accelerator

    now = common.CLOCKS[clock]
    task, recipe = Task.load(name), make_recipe("default", {"steps": WARM + steps})
    pool = common.read_rows(data, name, "unlabeled", rows, task.fields)
    train = common.read_rows(data, name, "train", 32, task.fields)
    labels = [[str(label) for label in task.labels].index(str(row["label"])) for row in train]
    tokenizer, pattern = load_tokenizer(str(model)), task.patterns[0]
    pvp = bind_pattern(pattern, task.labels, tokenizer, reference.LENGTH)
    accelerator, plain = make_accelerator("cpu", precision), pvp.encoder.plain
    keys = token_keys([pvp.encoder])

    def tokens(texts: list[dict[str, Any]]) -> Any:
        table = Dataset.from_list([{field: row[field] for field in task.fields} for row in texts])
        return tokenize_fields(table, keys, plain)

    member = ClozeData(tokens(train), np.asarray(labels), tokens(pool))
    lm = MaskedLM(load_masked_lm(str(model)))
    config = lm.model.config
    ends = []
    train_member(
        lm, pvp, member, recipe.with_settings(learning_rate=5e-5), 0, accelerator, lambda *_: ends.append(now())
    )
    pet = (ends[-1] - ends[WARM - 1]) / steps

    batches = member_batches(lm, pvp, member, recipe.member, accelerator.device, 0)
    work = []
    for _ in range(WARM + steps):
        batch = next(batches)
        lengths = batch["attention_mask"].sum(dim=1).numpy()
        work.append(limit.training_flops(config, lengths, len(batch["targets"])))

    network = load_masked_lm(str(model))
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-5)
    words = [[reference.word_id(w, tokenizer) for w in pattern.verbalizer.words[label]] for label in task.labels]
    seconds = []
    for number in range(1 + rounds):
        begun = now()
        texts = train[: recipe.member.labeled_batch] + pool[: recipe.member.unlabeled_batch]
        examples = [reference.fill(pattern.template.source, row, tokenizer) for row in texts]
        labeled, unlabeled = examples[: recipe.member.labeled_batch], examples[recipe.member.labeled_batch :]
        reference.training_step(
            network, optimizer, labeled, labels[: recipe.member.labeled_batch], unlabeled, words, tokenizer
        )
        if number:
            seconds.append(now() - begun)
    research = statistics.median(seconds)

    dtype = common.computed_in(accelerator)
    most = limit.rate(config, dtype, now)
    done = sum(work[WARM:]) / steps / pet
    figures = {
        "task": name,
        "model": model.name,
        "precision": str(dtype).removeprefix("torch."),
        "seconds_a_step": {"pet": round(pet, 4), "reference": round(research, 4)},
        "ratio": round(research / pet, 2),
        **limit.figures(done, most),
    }
    common.record(output, "training_step", threads, clock, figures)
    click.echo(
        f"{name}, {figures['precision']}: {pet:.3f} s a step, {research / pet:.1f} times as fast as the reference's "
        f"{research:.3f} s; {limit.told(done, most)}"
    )


if __name__ == "__main__":
    sys.exit(main())
