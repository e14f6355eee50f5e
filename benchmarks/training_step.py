"""A training step of a member with auxiliary loss, compared with the research code and with the machine's limit.

    python benchmarks/training_step.py agnews
    python benchmarks/training_step.py agnews --student --threads 1 --clock cpu

Both sides take the batch of the default recipe (8 labeled and 4 unlabeled texts per step) and update all weights. With
`--student`, the student's updates and scores on packed rows are compared with those of plain transformers, by turns.
"""

from __future__ import annotations

import copy
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click
import common
import limit
import numpy as np
import reference
import torch

WARM = 2  # steps that are not timed


@click.command()
@click.argument("name", default="agnews", metavar="TASK")
@click.option("--precision", default="auto", show_default=True, help="Precision of pet; the reference uses float32.")
@click.option("--rows", default=512, show_default=True, help="Unlabeled texts.")
@click.option("--steps", default=20, show_default=True, help="Steps of pet that are timed.")
@click.option("--student", is_flag=True, help="Compare the student with plain transformers instead.")
@common.options
def main(
    name: str, precision: str, rows: int, steps: int, student: bool, model: Path, data: Path, threads: int, clock: str,
    rounds: int, output: Path,
) -> None:  # fmt: skip
    """Print the ratio of the speeds and the share of the machine's limit."""
    torch.set_num_threads(threads)
    from pet.members.training import ClozeData, member_batches, train_member
    from pet.recipe import make_recipe
    from pet.task.task import Task
    from pet.training.device import make_accelerator

    now = common.CLOCKS[clock]
    task = Task.load(name)
    recipe = make_recipe("default", {"steps": WARM + steps, "learning_rate": 5e-5, "max_length": reference.LENGTH})
    first = common.FirstPattern(task, model, recipe)
    pool = common.read_rows(data, name, "unlabeled", rows, task.fields)
    if student:
        found = student_seconds(first, pool, make_accelerator("cpu", precision), now, rounds)
        ratios = {what: round(found[f"{what}, plain"] / found[f"{what}, packed"], 2) for what in ("update", "scores")}
        told = {"task": name, "model": model.name, "precision": precision, "seconds": found, "ratio": ratios}
        common.record(output, "training_step, student", threads, clock, told)
        for what, ratio in ratios.items():
            click.echo(
                f"{what}, {precision}: {1000 * found[f'{what}, packed']:.1f} ms, {ratio} times plain transformers"
            )
        return
    train = common.read_rows(data, name, "train", 32, task.fields)
    labels = [[str(label) for label in task.labels].index(str(row["label"])) for row in train]
    accelerator = make_accelerator("cpu", precision)
    learned = ClozeData(first.tokenize(first.table(train)), np.asarray(labels), first.tokenize(first.table(pool)))
    lm = first.open()
    config = lm.model.config
    ends: list[float] = []
    train_member(lm, first.pvp, learned, recipe, 0, accelerator, lambda *_: ends.append(now()))
    pet = (ends[-1] - ends[WARM - 1]) / steps

    batches = member_batches(lm, first.pvp, learned, recipe.member, accelerator.device, 0)
    work = []
    for _ in range(WARM + steps):
        batch = next(batches)
        lengths = batch["attention_mask"].sum(dim=1).numpy()
        work.append(limit.training_flops(config, lengths, len(batch["targets"])))

    research = reference_seconds(first, recipe.member, train, labels, pool, common.CLOCKS[clock], rounds)
    dtype = common.computed_in(accelerator)
    most = limit.rate(config, dtype, now)
    done = sum(work[WARM:]) / steps / pet
    figures = {
        "task": name,
        "model": model.name,
        "precision": common.dtype_name(dtype),
        "seconds_a_step": {"pet": round(pet, 4), "reference": round(research, 4)},
        "ratio": round(research / pet, 2),
        **limit.figures(done, most),
    }
    common.record(output, "training_step", threads, clock, figures)
    click.echo(
        f"{name}, {figures['precision']}: {pet:.3f} s per step, {research / pet:.1f} times as fast as the reference "
        f"({research:.3f} s); {limit.summary(done, most)}"
    )


def student_seconds(
    first: common.FirstPattern, pool: common.Rows, accelerator: Any, clock: common.Clock, rounds: int
) -> dict[str, float]:
    """Measure the seconds of an update of a student, with 16 texts, and of a text's scores: medians by turns."""
    from pet.backbones.sequence import model_inputs
    from pet.recipe import student_rate_for
    from pet.student.classifier import TextInput, encode_texts, new_classifier
    from pet.student.distill import StudentObjective
    from pet.training.batching import pad_rows, shuffled_batches, to_tensors
    from pet.training.loop import Schedule, make_optimizer

    task, table = first.task, first.table(pool)
    classifier = new_classifier(str(first.model), TextInput(task.fields, task.input), task.labels, reference.LENGTH)
    encoded, count = encode_texts(table, classifier.text_input, classifier.tokenizer, classifier.max_length), 4
    drawn, soft = shuffled_batches(len(encoded), 16, np.random.default_rng(0)), np.float32(1 / len(task.labels))
    batches = []
    for rows in (next(drawn) for _ in range(count)):
        more = {
            "targets": np.full((len(rows), len(task.labels)), soft),
            "gold": rows[:0],
            "lengths": encoded.ids.lengths[rows],
        }
        batches.append(to_tensors(pad_rows(encoded, rows, 0)[0] | more, accelerator.device))
    network, scored = classifier.model, table.select(range(min(64, len(table))))
    objective = StudentObjective(network, 2.0, 0.0)
    optimizer = make_optimizer(objective, Schedule(1, student_rate_for(network.num_parameters())), accelerator)
    compute: dict[str, Any] = {
        "packed": classifier.logits,
        "plain": lambda batch: network(**model_inputs(network, batch)).logits,
    }

    def update(way: str) -> None:
        objective.train()
        objective.logits = compute[way]
        for batch in batches:
            with accelerator.autocast():
                objective(batch).backward()
            optimizer.step()
            optimizer.zero_grad()

    scorers = {way: copy.deepcopy(classifier) for way in compute}
    scorers["packed"].only_score(accelerator)  # as `pet predict` does
    plain = scorers["plain"].model
    vars(scorers["plain"])["logits"] = lambda batch: plain(**model_inputs(plain, batch)).logits

    def scores(way: str) -> None:
        scorers[way].scores(scored, accelerator)

    work = {f"update, {way}": partial(update, way) for way in compute}
    work |= {f"scores, {way}": partial(scores, way) for way in compute}
    found = common.alternate(work, clock, rounds)
    sizes = {"update": count, "scores": len(scored)}
    return {name: round(seconds / sizes[name.partition(",")[0]], 5) for name, seconds in found.items()}


def reference_seconds(
    first: common.FirstPattern, settings: Any, train: common.Rows, labels: list[int], pool: common.Rows,
    clock: common.Clock, rounds: int,
) -> float:  # fmt: skip
    """Measure the median seconds of a step of the reference, tokenization included."""
    network, pattern = first.open().model, first.task.patterns[0]
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-5)
    words = reference.word_ids(pattern.verbalizer.words, first.task.labels, first.tokenizer)
    seconds = []
    for number in range(1 + rounds):
        begun = clock()
        texts = train[: settings.labeled_batch] + pool[: settings.unlabeled_batch]
        examples = [reference.fill(pattern.template.source, row, first.tokenizer) for row in texts]
        labeled, unlabeled = examples[: settings.labeled_batch], examples[settings.labeled_batch :]
        reference.training_step(
            network, optimizer, labeled, labels[: settings.labeled_batch], unlabeled, words, first.tokenizer
        )
        if number:
            seconds.append(clock() - begun)
    return statistics.median(seconds)


if __name__ == "__main__":
    sys.exit(main())
