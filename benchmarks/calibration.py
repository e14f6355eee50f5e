"""Untrained patterns as they are, and without their bias toward some labels: by a prior, or by texts without content.

    python benchmarks/calibration.py --threads 1

No labeled texts are used. `prior=balanced` makes all labels equally frequent among unlabeled texts; without a pool it
gives a text without content equal probabilities. `calibration=contextual` and `calibration=pmi` subtract what a pattern
says about such texts. Figures are accuracies on the first test texts. Lines that exist are not made again.

Reads the data sets and models in ../shared, which are not part of the project.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import common
import numpy as np

if TYPE_CHECKING:
    from datasets import Dataset

SETS = {"agnews": "minilm-mlm-en", "sst2": "minilm-mlm-en", "yelp": "minilm-mlm-en", "mnli": "minilm-mlm-en",
        "eprstmt": "albert-tiny-zh"}  # fmt: skip
WAYS = {
    "none": "`prior=none`",
    "pool": "`prior=balanced`, {pool} unlabeled texts",
    "null": "`prior=balanced`, no unlabeled texts",
    "contextual": "`calibration=contextual`",
    "pmi": "`calibration=pmi`",
}
INTRO = """# Calibration of untrained patterns

Produced by `python benchmarks/calibration.py`. Accuracy in percent on the first {rows} test texts, without any labeled
text: all patterns of the task together, and the mean of single patterns in brackets. {length} tokens, {models}.

"""


def table_of(task: str, source: Path, rows: int) -> Dataset:
    """Return the first rows of a data set, with their labels if the file has some."""
    from pet.data.read import read_table
    from pet.task.task import Task

    found = Task.load(task)
    with tempfile.TemporaryDirectory() as place:
        file = common.first_rows(source, rows, Path(place) / source.name)
        labels: Any = None if source.stem == "unlabeled" else found.labels
        return read_table(str(file), found.fields, labels=labels, label_map=found.label_map, columns=found.columns)


def one_line(wanted: Mapping[str, Any], shared: Path) -> dict[str, Any]:
    """Return the accuracy of each way on one data set."""
    from pet.backbones.info import ModelInfo
    from pet.data.checks import column_labels
    from pet.ensemble.combine import Ensemble
    from pet.members.models import Models
    from pet.members.null_text import label_bias, null_texts
    from pet.members.shared import Shared
    from pet.members.texts import Texts
    from pet.preflight.zero_shot import score_untrained
    from pet.progress import Reporter
    from pet.recipe import make_recipe
    from pet.task.task import Task

    begun, task, data = time.process_time(), Task.load(wanted["task"]), shared / "data" / wanted["task"]
    recipe = make_recipe("default", {"max_length": str(wanted["length"])})
    model = ModelInfo(str(shared / "models" / SETS[wanted["task"]]))
    common_parts = Shared(task, recipe, Models(model, wanted["length"], shared=False), "cpu", "auto")
    reporter, labels = Reporter("quiet"), len(task.labels)
    test = table_of(wanted["task"], data / "test.jsonl", wanted["rows"])
    pool = table_of(wanted["task"], data / "unlabeled.jsonl", wanted["pool"])
    nothing: Texts = null_texts(common_parts)
    scores, of_pool, null = (score_untrained(common_parts, t, reporter)[0] for t in (test, pool, nothing.table))
    gold, even = column_labels(test), np.full(labels, 1 / labels)

    def accuracy(way: str, places: list[int]) -> float:
        own, unlabeled, empty = ([each[place] for place in places] for each in (scores, of_pool, null))
        ensemble = Ensemble.of([str(place) for place in places], labels=labels)
        if way in ("contextual", "pmi"):
            own = [score - label_bias(bias, way) for score, bias in zip(own, empty, strict=True)]
        if way == "pool":
            ensemble = ensemble.corrected(unlabeled, even)
        merged = ensemble.merge(own)
        if way == "null":
            merged = merged - ensemble.merge(empty).mean(axis=0)
        return float((merged.argmax(axis=1) == gold).mean())

    every = list(range(len(scores)))
    found = {way: accuracy(way, every) for way in WAYS}
    single = {way: float(np.mean([accuracy(way, [place]) for place in every])) for way in WAYS}
    cost = {"n": len(gold), "patterns": len(every), "cpu": round(time.process_time() - begun, 1)}
    return {**wanted, "together": found, "single": single, **cost}


def page(lines: list[Any]) -> str:
    """Return the results as a Markdown page."""
    if not lines:
        return ""
    first = lines[0]
    models = ", ".join(dict.fromkeys(f"`{SETS[line['task']]}`" for line in lines))
    rows = [
        [text.format(pool=first["pool"]), *(_cell(line, way) for line in lines), f"{100 * _mean(lines, way):.1f}"]
        for way, text in WAYS.items()
    ]
    head = ["", *(line["task"] for line in lines), "mean"]
    about = INTRO.format(rows=first["rows"], length=first["length"], models=models)
    return about + common.markdown(head, rows)


def _cell(line: Mapping[str, Any], way: str) -> str:
    return f"{100 * line['together'][way]:.1f} ({100 * line['single'][way]:.1f})"


def _mean(lines: list[Any], way: str) -> float:
    return float(np.mean([line["together"][way] for line in lines]))


@click.command()
@click.argument("tasks", nargs=-1, type=click.Choice(list(SETS)))
@click.option("--rows", default=500, show_default=True, help="Test texts.")
@click.option("--pool", default=300, show_default=True, help="Unlabeled texts.")
@click.option("--length", default=128, show_default=True, help="Longest input in tokens.")
@common.output_option(common.HERE / "results" / "calibration.jsonl")
@common.shared_option
@common.threads_option
def main(tasks: tuple[str, ...], rows: int, pool: int, length: int, output: Path, shared: Path, threads: int) -> None:
    """Measure TASKS; all of them by default."""
    import torch

    torch.set_num_threads(threads)
    runs = [{"task": task, "rows": rows, "pool": pool, "length": length} for task in tasks or SETS]
    done = common.make_missing(output, runs, lambda wanted: one_line(wanted, shared), page)
    click.echo(page(done))


if __name__ == "__main__":
    main()
