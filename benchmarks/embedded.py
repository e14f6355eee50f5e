"""The embedded model, or candidates for it, compared with a baseline model: zero-shot, speed, PET, and the demo.

    python benchmarks/embedded.py
    python benchmarks/embedded.py --parts zero-shot,speed --split train --model runs/a --model runs/b

Reads the data sets and models in ../shared, which are not part of the project. Each part prints a table that shows
which criteria are met, and appends a line to the output file. PET runs stay in the work folder: the same command
resumes them.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import common
import numpy as np
from accuracy import COLUMNS

from pet.progress import Reporter
from pet.recipe import make_recipe
from pet.report.tables import text_table
from pet.run.settings import RunSettings
from pet.store.manifest import versions
from pet.task.task import Task

if TYPE_CHECKING:
    from datasets import Dataset

    from pet.training.device import Accelerator

EXAMPLES = {"agnews": 10, "sst2": 32}  # labeled texts of a PET run
MOST_BELOW = 3.0  # points of accuracy that a model may be below the baseline
LEAST_RATIO = 1.5  # required speedup over the baseline
MOST_SECONDS = 240  # limit of the demo on two cores

Row = dict[str, Any]  # one line of a table, as printed and as saved
Models = dict[str, str]  # label -> folder or name; the first one is the baseline


def verdict(missing: float, unit: str = "") -> str:
    """Return ``met``, or by how much a criterion is missed; `missing` of 0 or less is met."""
    return "met" if missing <= 1e-9 else f"missed by {missing:.3g} {unit}".rstrip()


def judged(rows: list[Row], figure: str) -> list[Row]:
    """Add a verdict on an accuracy to the rows. The first row of each task is the baseline's."""
    first: dict[str, Row] = {}
    for row in rows:
        baseline = first.setdefault(row["task"], row)
        missing = 100 * (baseline[figure] - row[figure]) - MOST_BELOW
        row[f"{figure} within {MOST_BELOW:g} points"] = "-" if row is baseline else verdict(missing, "points")
    return rows


def label_models(models: Sequence[str]) -> Models:
    """Name each model by the shortest end of its path that is unique."""
    paths = [Path(model).resolve().parts for model in models]
    for count in range(1, max(map(len, paths)) + 1):
        labeled = {"/".join(parts[-count:]): model for parts, model in zip(paths, models, strict=True)}
        if len(labeled) == len(models):
            return labeled
    raise click.UsageError("two models have the same path, or a model is its own baseline")


def bind(model: str, task: Task, settings: dict[str, str], pattern: int = 0) -> common.FirstPattern:
    """Bind a pattern of a task to a model."""
    return common.FirstPattern(task.with_patterns([pattern + 1]), model, make_recipe("default", settings))


def read_rows(options: Row, task: Task, split: str, count: int) -> Dataset:
    """Read the first rows of a data set."""
    from pet.data.read import read_table

    source = options["data"] / task.name / f"{split}.jsonl"
    table = read_table(source, task.fields, labels=task.labels, label_map=task.label_map, name=split)
    return table.select(range(min(count, len(table))))


def zero_shot(models: Models, options: Row) -> list[Row]:
    """Compute the accuracy of each untrained pattern. The criterion applies to their mean."""
    rows = []
    for name in options["tasks"]:
        task = Task.load(name)
        table = read_rows(options, task, options["split"], options["rows"])
        for label, model in models.items():
            figures = try_patterns(model, task, table, options["settings"])
            rows.append({"task": name, "model": label, "rows": len(table), **figures})
    return judged(rows, "mean")


def try_patterns(model: str, task: Task, table: Dataset, settings: dict[str, str]) -> Row:
    """Compute the accuracy of each pattern, their mean (with raw and with centered scores), and their ensemble."""
    from pet.data.checks import column_labels
    from pet.ensemble.combine import merge_scores
    from pet.preflight.zero_shot import untrained_accuracy

    gold, accelerator = column_labels(table), cpu()
    patterns = [bind(model, task, settings, number) for number in range(len(task.patterns))]
    lm = patterns[0].open()
    scores = [pattern.score(lm, pattern.tokenize(table), accelerator) for pattern in patterns]
    found = [untrained_accuracy(s, gold) for s in scores]
    return {
        **{f"p{number}": figures["accuracy"] for number, figures in enumerate(found, 1)},
        "mean": statistics.fmean(figures["accuracy"] for figures in found),
        "centered": statistics.fmean(untrained_accuracy(s - s.mean(axis=0), gold)["accuracy"] for s in scores),
        "ensemble": untrained_accuracy(merge_scores(scores, np.ones(len(scores))), gold)["accuracy"],
    }


def speed(models: Models, options: Row) -> list[Row]:
    """Measure the seconds for the same texts on one thread: the median over rounds in which the models take turns."""
    import torch

    task = Task.load("agnews")
    table = read_rows(options, task, "train", options["speed_rows"])
    timers = {label: timer(bind(model, task, options["settings"]), table) for label, model in models.items()}
    times: dict[str, list[tuple[float, float]]] = {label: [] for label in models}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # CPU time would otherwise include threads that wait for each other
    for once in timers.values():
        once()  # warmup: kernels are selected for each batch size
    for number in range(options["rounds"]):
        # Alternate the order, so that no model always follows the same one.
        for label in list(models)[:: 1 if number % 2 == 0 else -1]:
            times[label].append(timers[label]())
    torch.set_num_threads(threads)
    medians = {label: [statistics.median(kind) for kind in zip(*pairs, strict=True)] for label, pairs in times.items()}
    first = medians[next(iter(models))]
    rows: list[Row] = []
    for label, (seconds, wall) in medians.items():
        row = {"model": label, "rows": len(table), "CPU s": seconds, "wall s": wall, "texts/s": len(table) / seconds}
        row |= {"ratio": first[0] / seconds, "wall ratio": first[1] / wall}
        rows.append(row | {f"at least {LEAST_RATIO}": verdict(LEAST_RATIO - row["ratio"]) if rows else "-"})
    return rows


def timer(first: common.FirstPattern, table: Dataset) -> Callable[[], tuple[float, float]]:
    """Return a function that scores the table and measures its CPU seconds and wall seconds."""
    lm, tokens, accelerator = first.open(), first.tokenize(table), cpu()

    def once() -> tuple[float, float]:
        wall, processor = time.perf_counter(), time.process_time()
        first.score(lm, tokens, accelerator)
        return time.process_time() - processor, time.perf_counter() - wall

    return once


def cpu() -> Accelerator:
    """Make an accelerator on the CPU: the criteria are for machines without a GPU."""
    from pet.training.device import make_accelerator

    return make_accelerator("cpu")


def few_shot(models: Models, options: Row) -> list[Row]:
    """Compute the mean accuracy over seeds of whole runs with few examples. The criterion applies to the student."""
    from pet.backbones.load import model_fingerprint
    from pet.run.seeds import run_seeds

    rows = []
    for name in options["tasks"]:
        data, count = options["data"] / name, options["test_rows"]
        # Keep the file: a resumed run checks its path and content.
        test = common.first_rows(data / "test.jsonl", count, options["work"] / f"{name}-test-{count}.jsonl")
        for label, model in models.items():
            settings = RunSettings(
                task=Task.load(name).to_dict(),
                train=str(data / "train.jsonl"),
                unlabeled=str(data / "unlabeled.jsonl"),
                test=str(test),
                model=model,
                examples=EXAMPLES[name],
                pool_size=options["pool_size"],
                settings=options["settings"],
                baselines=True,
            )
            # The hash keeps runs of different versions of a model apart.
            folder = f"{name}-{EXAMPLES[name]}-{Path(model).name}-{model_fingerprint(model)[:12]}"
            results = run_seeds(settings, range(options["seeds"]), options["work"] / folder, Reporter("plain"))
            means = {column: results["summary"][column]["accuracy"]["mean"] for column in COLUMNS}
            students = [f"{run['student']['accuracy']:.3f}" for run in results["runs"].values()]
            rows.append({"task": f"{name}:{EXAMPLES[name]}", "model": label, **means, "students": " ".join(students)})
    return judged(rows, "pet student")


def demo(models: Models, options: Row) -> list[Row]:
    """Run the command of `make demo` with each candidate, in a process of its own on all cores."""
    from pet.run.results import headline_metrics

    news = common.HERE.parent / "data" / "news"
    pairs = [(f"--{part}", str(news / f"{part}.jsonl")) for part in ("train", "unlabeled", "test")]
    pairs += [("--set", change) for change in options["changes"]]
    words = [sys.executable, "-m", "pet", "run", "news", "--examples", "10", "--baselines", "--json"]
    words += [word for pair in pairs for word in pair]
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    rows = []
    for label, model in list(models.items())[1:]:
        # A new folder each time: finished stages of an earlier run would be skipped.
        with tempfile.TemporaryDirectory(prefix="demo-", dir=options["work"]) as folder:
            begun = time.perf_counter()
            command = [*words, "-m", model, "-o", folder]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
            seconds = time.perf_counter() - begun
        results = json.loads(done.stdout)
        figures = {row: found["accuracy"] for row, found in headline_metrics(results).items()}
        one_text = 1 / results["data"]["test"]  # the student must be better, not equal
        missing = 100 * (figures["supervised"] + one_text - figures["pet student"])
        row = {"model": label, "wall s": seconds, **{column: figures[column] for column in COLUMNS}}
        row[f"at most {MOST_SECONDS} s"] = verdict(seconds - MOST_SECONDS, "s")
        rows.append(row | {"student above supervised": verdict(missing, "points")})
    return rows


PARTS = {"zero-shot": zero_shot, "speed": speed, "pet": few_shot, "demo": demo}
KEPT = ["rows", "split", "tasks", "seeds", "settings", "changes", "pool_size", "test_rows", "speed_rows", "rounds"]


def machine() -> Row:
    """Describe the machine, its threads and precision, and the versions."""
    import torch

    return common.machine() | {
        "threads": torch.get_num_threads(),
        "precision": cpu().precision,
        "versions": versions(),
    }


def listed(text: str, known: Sequence[str]) -> list[str]:
    """Split an option at its commas."""
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise click.UsageError(f"unknown: {', '.join(unknown)}; choose from {', '.join(known)}")
    return names


@click.command()
@click.option(
    "--model", "candidates", multiple=True, show_default="models/mini-en", help="Candidate model; repeat for several."
)
@click.option(
    "--against",
    "baseline",
    default=str(common.SHARED / "models" / "minilm-mlm-en"),
    show_default="../shared/models/minilm-mlm-en",
    help="Model to compare with.",
)
@click.option("--parts", default=",".join(PARTS), show_default=True, help="What to measure.")
@click.option("--tasks", default=",".join(EXAMPLES), show_default=True, help="Tasks of zero-shot and pet.")
@common.data_option
@click.option("--rows", default=2000, show_default=True, help="Texts per task for zero-shot.")
@click.option("--split", type=click.Choice(["test", "train"]), default="test", show_default=True, help="For zero-shot.")
@click.option("--speed-rows", default=500, show_default=True, help="Texts for speed.")
@click.option("--rounds", default=5, show_default=True, help="Rounds for speed.")
@click.option("--seeds", default=3, show_default=True, help="Number of seeds for pet.")
@click.option("--pool-size", default=600, show_default=True, help="Unlabeled texts for pet.")
@click.option("--test-rows", default=500, show_default=True, help="Texts of the test set for pet.")
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a setting. max_length is 128 except in demo."
)
@click.option(
    "--work", type=click.Path(path_type=Path), default=Path("runs/embedded"), show_default=True, help="Folder for runs."
)
@common.output_option(common.HERE / "results" / "embedded.jsonl")
def main(candidates: tuple[str, ...], baseline: str, parts: str, output: Path, **options: Any) -> None:
    """Compare models with a baseline and print which criteria are met."""
    from pet.backbones.load import model_fingerprint

    wanted = listed(parts, list(PARTS))
    options["tasks"] = listed(options["tasks"], list(EXAMPLES))
    options["settings"] = {"max_length": "128"} | common.setting_pairs(options["changes"])
    models = label_models([baseline, *(candidates or [str(common.HERE.parent / "models" / "mini-en")])])
    options["work"].mkdir(parents=True, exist_ok=True)
    hashes = {label: model_fingerprint(model)[:12] for label, model in models.items()}
    about = {"options": {key: options[key] for key in KEPT}, "models": hashes}
    for part in wanted:
        begun = {"part": part, "date": common.now(), "machine": machine()}
        rows = PARTS[part](models, options)
        header = list(dict.fromkeys(key for row in rows for key in row))
        click.echo(f"\n{part}\n\n{text_table([[row.get(key) for key in header] for row in rows], header)}\n")
        common.append(output, {**begun, **about, "figures": rows})


if __name__ == "__main__":
    main()
