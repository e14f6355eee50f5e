"""Prompt transfer: learning curves from another task's prompt and from fresh vectors; and learning rates.

    python benchmarks/transfer.py --seeds 3
    python benchmarks/transfer.py --part rates --seeds 3

Reads the data sets and models in ../shared, which are not part of the project. A prompt is trained on sst2 and moved to
yelp and agnews (``curves``); fresh prompts are trained with several learning-rate factors (``rates``). One prompt with
the first pattern of each task, without unlabeled texts. Each line of the output file is one training run; runs that are
already in the file are skipped. The tables are also written as Markdown next to the output file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import click
import common

SOURCE, TARGETS = "sst2", ("yelp", "agnews")
RATE_TASKS, RATE_EXAMPLES = ("sst2", "agnews"), (32, 200)
SOURCE_EXAMPLES = 200


def first_pattern(name: str) -> Any:
    """Load a task with its first pattern only."""
    from pet.task.task import Task

    task = Task.load(name)
    return replace(task, patterns=task.patterns[:1])


@cache
def session(model: str, seed: int, steps: int, factor: int) -> Any:
    """Open a model to train prompts on; `factor` is applied to the learning rate for training all weights."""
    from pet.prompts.session import open_session
    from pet.recipe import learning_rate_for

    settings = {"max_length": 96, "steps": steps, "learning_rate": factor * learning_rate_for(30_000_000)}
    return open_session(model, settings, seed=seed)


@dataclass(frozen=True)
class Training:
    """One training run.

    Attributes
    ----------
    model, data : folders of the model and of the data sets
    task : name of the task
    examples, seed, steps, factor : how to train
    """

    model: str
    data: str
    task: str
    examples: int
    seed: int
    steps: int
    factor: int


@dataclass(frozen=True)
class Marks:
    """Where to measure accuracy.

    Attributes
    ----------
    steps : after these steps
    rows : texts of the test set
    even : take the same number of test texts per label, because half of yelp's test set has five stars
    """

    steps: Sequence[int] = ()
    rows: int = 0
    even: bool = False


@cache
def source_prompt(training: Training) -> Any:
    """Train a prompt that others start from."""
    return trained(training)[0]


def trained(training: Training, start: Any = None, marks: Marks | None = None) -> tuple[Any, dict[int, float]]:
    """Train a prompt; return its vectors, and its test accuracy at the marks.

    `start` holds the vectors to start from; None: frequent words.
    """
    import torch

    from pet.members.scoring import score_rows
    from pet.members.training import ClozeData, train_member
    from pet.prompts.session import read_labeled
    from pet.tuning import soft
    from pet.tuning.members import Learned, start_member
    from pet.tuning.vectors import VECTORS

    marks, seed, task = marks or Marks(), training.seed, first_pattern(training.task)
    opened = session(training.model, seed, training.steps, training.factor)
    file = f"{training.data}/{training.task}/train.jsonl"
    source = opened.source(task, read_labeled(task, file, examples=training.examples, seed=seed))
    (pvp,) = source.pvps
    before = None if start is None else Learned({VECTORS: torch.from_numpy(start.copy())}, "", "", {"tuning": "prompt"})
    lm = start_member(
        opened.backbone, opened.recipe.tuning, pvp, [source.tokens], seed, opened.accelerator.device, before
    )
    curve: dict[int, float] = {}
    tokens, gold = evaluation_texts(opened, task, training, marks) if marks.steps else ({}, None)

    def look(step: int, _: float | None) -> None:
        if step in marks.steps:
            scores = score_rows(lm, opened.tokenizer, pvp, tokens, opened.accelerator, max_tokens=8192)
            curve[step] = float((scores.argmax(axis=1) == gold).mean())
            lm.train()

    look(0, None)
    train_member(lm, pvp, ClozeData(source.tokens, source.labels, None), opened.recipe, seed, opened.accelerator, look)
    learned = soft.learned_values(lm.model)
    if learned is None:
        raise RuntimeError("the model has no learned vectors")
    vectors = learned.cpu().numpy()
    opened.backbone.restore()
    return vectors, curve


def evaluation_texts(opened: Any, task: Any, training: Training, marks: Marks) -> tuple[Any, Any]:
    """Return the tokenized test texts and their labels."""
    from pet.data.checks import column_labels
    from pet.data.read import read_table

    file = f"{training.data}/{training.task}/test.jsonl"
    table = read_table(file, task.fields, labels=list(task.labels), label_map=task.label_map, name="test")
    if marks.even:
        table = table.select(first_of_each(column_labels(table), marks.rows // len(task.labels)))
    else:
        table = table.select(range(min(marks.rows, len(table))))
    return opened.tokens(task, table), column_labels(table)


def first_of_each(labels: Any, count: int) -> Any:
    """Return the first `count` rows of each label, in order."""
    import numpy as np

    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in np.unique(labels)]))


def one_run(wanted: dict[str, Any], places: dict[str, str]) -> dict[str, Any]:
    """Train once and return the curve."""
    how: dict[str, Any] = {key: wanted[key] for key in ("task", "examples", "seed", "steps", "factor")}
    training = Training(**{**places, **how})
    start = (
        None if wanted["start"] == "fresh" else source_prompt(replace(training, task=SOURCE, examples=SOURCE_EXAMPLES))
    )
    marks = Marks(wanted["marks"], wanted["test_rows"], wanted.get("even", False))
    _, curve = trained(training, start, marks)
    return {**wanted, "curve": {str(step): accuracy for step, accuracy in curve.items()}}


def wanted_curves(seeds: int, examples: int, steps: int, factor: int) -> Iterator[dict[str, Any]]:
    """Yield the runs that start from fresh vectors and from the source prompt, for each target task."""
    marks = [mark for mark in (0, 10, 20, 40, 80) if mark < steps] + [steps]
    for seed in range(seeds):
        for task in TARGETS:
            for start in ("fresh", SOURCE):
                same = {"part": "curves", "task": task, "examples": examples, "start": start, "even": True}
                yield same | {"seed": seed, "factor": factor, "steps": steps, "marks": marks}


def wanted_rates(seeds: int, steps: int, factors: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yield the runs with fresh vectors, for each factor."""
    for seed in range(seeds):
        for task in RATE_TASKS:
            for examples in RATE_EXAMPLES:
                for factor in factors:
                    same = {"part": "rates", "task": task, "examples": examples, "start": "fresh"}
                    yield same | {"seed": seed, "factor": factor, "steps": steps, "marks": [0, steps]}


def table(lines: list[dict[str, Any]], part: str) -> str:
    """Format means over seeds at each mark as Markdown."""
    keys = ("task", "examples", "start", "factor", "steps", "test_rows", "model")
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for line in lines:
        if line["part"] == part:
            groups.setdefault(tuple(line[key] for key in keys), []).append(line)
    marks = sorted({mark for runs in groups.values() for mark in runs[0]["marks"]})
    head = ["task", "examples", "start", "factor", *(f"after {mark}" for mark in marks)]
    head += ["matches fresh after"] * (part == "curves") + ["seeds", "model"]
    rows = []
    for key, runs in sorted(groups.items()):
        cells = [_mean(runs, str(mark)) for mark in marks]
        if part == "curves":
            fresh = groups.get((*key[:2], "fresh", *key[3:]), [])
            cells.append("" if key[2] == "fresh" else _reached(runs, fresh))
        rows.append([*key[:4], *cells, len(runs), key[6]])
    return common.markdown(head, rows) if groups else "Not measured yet.\n"


def _reached(runs: Sequence[dict[str, Any]], fresh: Sequence[dict[str, Any]]) -> str:
    """Find the first mark at which runs reach the best mean accuracy of fresh ones."""

    def means(group: Sequence[dict[str, Any]]) -> dict[int, float]:
        return {mark: fmean(run["curve"][str(mark)] for run in group) for mark in group[0]["marks"]}

    if not fresh:
        return "-"
    best = max(means(fresh).values())
    return next((str(mark) for mark, mean in means(runs).items() if mean >= best), "never")


def _mean(runs: Sequence[dict[str, Any]], mark: str) -> str:
    """Format mean and standard deviation of the accuracy at a mark, in percent."""
    found = [run["curve"][mark] for run in runs if mark in run["curve"]]
    return common.spread(found) if found else "-"


def page(lines: list[Any]) -> str:
    """Format the results as Markdown."""
    return f"""# Prompt transfer

Produced by `python benchmarks/transfer.py`. Every training run is a line of the JSON lines file next to this one.
Accuracy in percent after the given number of steps, mean and standard deviation over seeds. The first table uses test
texts with the same number per label; the second uses the first rows of the test set. One prompt of 20 vectors with the
first pattern of the task. The learning rate decays to 0 at the last step, so accuracy in the middle of a long run is
not that of a short one. "Matches fresh after": the first of these step counts at which it reaches the best accuracy of
fresh vectors.

## Start: a prompt of {SOURCE} ({SOURCE_EXAMPLES} examples, same number of steps), or frequent words

{table(lines, "curves")}
## Learning-rate factors, fresh prompts

{table(lines, "rates")}"""


@click.command()
@click.option(
    "--part", type=click.Choice(["curves", "rates", "both"]), default="both", show_default=True, help="What to measure."
)
@click.option("--seeds", default=1, show_default=True, help="Number of seeds.")
@click.option("--factor", default=30, show_default=True, help="Learning-rate factor of the curves.")
@click.option("--factors", default="10,30,100,300", show_default=True, help="Learning-rate factors to compare.")
@click.option("--examples", default=32, show_default=True, help="Labeled texts of the curves.")
@click.option("--steps", default=120, show_default=True, help="Training steps.")
@click.option("--test-rows", default=400, show_default=True, help="Texts of the test set.")
@common.threads_option
@common.data_option
@common.model_option
@click.option("--limit", type=int, help="Make at most this many runs.")
@common.output_option(common.HERE / "results" / "transfer.jsonl")
def main(
    part: str, seeds: int, factor: int, factors: str, examples: int, steps: int, test_rows: int, threads: int,
    limit: int | None, data: Path, model: Path, output: Path,
) -> None:  # fmt: skip
    """Make the runs that are missing and print the tables."""
    import torch

    torch.set_num_threads(threads)
    same = {"test_rows": test_rows, "model": model.name}
    runs = [] if part == "rates" else list(wanted_curves(seeds, examples, steps, factor))
    if part != "curves":
        runs += wanted_rates(seeds, steps, [int(text) for text in factors.split(",")])
    places = {"model": str(model), "data": str(data)}
    chosen = islice((run | same for run in runs), limit)
    click.echo(page(common.make_missing(output, chosen, lambda run: one_run(run, places), page)))


if __name__ == "__main__":
    main()
