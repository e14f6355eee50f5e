"""The model that comes with the package against a yardstick: zero-shot, speed, PET, and the demo.

    python benchmarks/embedded.py
    python benchmarks/embedded.py --parts zero-shot,speed --split train --model runs/a --model runs/b

Reads ../shared (data sets and models that are not part of the project). Each part prints a table that says
which bars are met, and appends a line with its figures to the output file. PET runs stay in the work folder:
the same command goes on with them.
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
from accuracy import COLUMNS, first_rows

from pet.progress import Reporter
from pet.report.tables import text_table
from pet.run.settings import RunSettings
from pet.store.manifest import versions
from pet.task.task import Task

if TYPE_CHECKING:
    from datasets import Dataset

    from pet.preflight.check_task import Trial

HERE = Path(__file__).resolve().parent
EXAMPLES = {"agnews": 10, "sst2": 32}  # labeled texts of a PET run
MOST_BELOW = 3.0  # points of accuracy that a model may be below the yardstick
LEAST_RATIO = 1.5  # times as fast as the yardstick
MOST_SECONDS = 240  # of the demo, on two cores

Row = dict[str, Any]  # one line of a table, flat: what is printed is what is kept
Models = dict[str, str]  # label -> folder or name; the first one is the yardstick


def verdict(missing: float, unit: str = "") -> str:
    """``met``, or by how much a bar is missed; nothing is missing where the number is 0 or below."""
    return "met" if missing <= 1e-9 else f"missed by {missing:.3g} {unit}".rstrip()


def judged(rows: list[Row], figure: str) -> list[Row]:
    """The same rows with a verdict on an accuracy; the first row of each task is the yardstick's."""
    first: dict[str, Row] = {}
    for row in rows:
        yardstick = first.setdefault(row["task"], row)
        missing = 100 * (yardstick[figure] - row[figure]) - MOST_BELOW
        row[f"{figure} within {MOST_BELOW:g} points"] = "-" if row is yardstick else verdict(missing, "points")
    return rows


def label_models(models: Sequence[str]) -> Models:
    """A short name for each model: so many last parts of its path as tell all of them apart."""
    paths = [Path(model).resolve().parts for model in models]
    for count in range(1, max(map(len, paths)) + 1):
        labeled = {"/".join(parts[-count:]): model for parts, model in zip(paths, models, strict=True)}
        if len(labeled) == len(models):
            return labeled
    raise click.UsageError("a model is named twice, or is its own yardstick")


def open_trial(model: str, task: Task, settings: dict[str, str]) -> Trial:
    """A model with a task, on the processor: the bars are for machines without a GPU."""
    from pet.backbones.load import load_masked_lm, load_tokenizer
    from pet.backbones.masked import MaskedLM
    from pet.preflight.check_task import Trial
    from pet.recipe import make_recipe
    from pet.training.device import make_accelerator

    lm, recipe = MaskedLM(load_masked_lm(model)), make_recipe("default", settings)
    return Trial(task, load_tokenizer(model), lm, recipe, make_accelerator("cpu"), Reporter("auto"))


def read_rows(options: Row, task: Task, split: str, count: int) -> Dataset:
    """The first rows of a data set."""
    from pet.data.read import read_table

    source = options["data"] / task.name / f"{split}.jsonl"
    table = read_table(source, task.fields, labels=task.labels, label_map=task.label_map, name=split)
    return table.select(range(min(count, len(table))))


def zero_shot(models: Models, options: Row) -> list[Row]:
    """Accuracy of each untrained pattern; the bar is for the mean over patterns."""
    rows = []
    for name in options["tasks"]:
        task = Task.load(name)
        table = read_rows(options, task, options["split"], options["rows"])
        for label, model in models.items():
            figures = try_patterns(open_trial(model, task, options["settings"]), table, f"{name} with {label}")
            rows.append({"task": name, "model": label, "rows": len(table), **figures})
    return judged(rows, "mean")


def try_patterns(trial: Trial, table: Dataset, about: str) -> Row:
    """Accuracy of each pattern; their mean, as it is and centred; and that of all patterns as one ensemble."""
    import numpy as np

    from pet.data.checks import column_labels
    from pet.ensemble.combine import merge_scores
    from pet.members.scoring import score_rows
    from pet.preflight.check_task import untrained_accuracy

    gold, tokens, most = column_labels(table), trial.tokens(table), trial.recipe.inference.tokens
    with trial.reporter.task(f"score {about}", len(table) * len(trial.pvps), "text") as bar:
        scores = [
            score_rows(trial.lm, trial.tokenizer, pvp, tokens, trial.accelerator, max_tokens=most, on_rows=bar.update)
            for pvp in trial.pvps
        ]
    found = [untrained_accuracy(s, gold) for s in scores]
    return {
        **{f"p{number}": figures["accuracy"] for number, figures in enumerate(found)},
        "mean": statistics.fmean(figures["accuracy"] for figures in found),
        "centred": statistics.fmean(figures["centred"] for figures in found),
        "together": untrained_accuracy(merge_scores(scores, np.ones(len(scores))), gold)["accuracy"],
    }


def speed(models: Models, options: Row) -> list[Row]:
    """Seconds for the same texts with one thread: medians of rounds in which all models take turns."""
    import torch

    task = Task.load("agnews")
    table = read_rows(options, task, "train", options["speed_rows"])
    timers = {label: timer(open_trial(model, task, options["settings"]), table) for label, model in models.items()}
    times: dict[str, list[tuple[float, float]]] = {label: [] for label in models}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # else the time of the process is the sum over threads that wait for each other
    for once in timers.values():
        once()  # the first time is slower: kernels are chosen for each size of a batch
    for number in range(options["rounds"]):
        # There and back, so that no model always comes after the same one.
        for label in list(models)[:: 1 if number % 2 == 0 else -1]:
            times[label].append(timers[label]())
    torch.set_num_threads(threads)
    medians = {label: [statistics.median(kind) for kind in zip(*pairs, strict=True)] for label, pairs in times.items()}
    first = medians[next(iter(models))]
    rows: list[Row] = []
    for label, (cpu, wall) in medians.items():
        row = {"model": label, "rows": len(table), "process s": cpu, "wall s": wall, "texts a s": len(table) / cpu}
        row |= {"ratio": first[0] / cpu, "wall ratio": first[1] / wall}
        rows.append(row | {f"at least {LEAST_RATIO}": verdict(LEAST_RATIO - row["ratio"]) if rows else "-"})
    return rows


def timer(trial: Trial, table: Dataset) -> Callable[[], tuple[float, float]]:
    """What scores the table with the first pattern and returns seconds of the process and of the wall."""
    from pet.members.scoring import score_rows

    tokens, most = trial.tokens(table), trial.recipe.inference.tokens

    def once() -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        score_rows(trial.lm, trial.tokenizer, trial.pvps[0], tokens, trial.accelerator, max_tokens=most)
        return time.process_time() - cpu, time.perf_counter() - wall

    return once


def few_shot(models: Models, options: Row) -> list[Row]:
    """Mean accuracy over seeds of whole runs with few examples; the bar is for the student."""
    from pet.backbones.load import model_fingerprint
    from pet.run.pipeline import run_seeds

    rows = []
    for name in options["tasks"]:
        data, count = options["data"] / name, options["test_rows"]
        # A file that stays: a run that goes on compares its path and content.
        test = first_rows(data / "test.jsonl", count, options["work"] / f"{name}-test-{count}.jsonl")
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
            # With the hash, a model that was trained further begins anew and finds no run of the earlier one.
            folder = f"{name}-{EXAMPLES[name]}-{Path(model).name}-{model_fingerprint(model)[:12]}"
            results = run_seeds(settings, range(options["seeds"]), options["work"] / folder, Reporter("plain"))
            means = {column: results["summary"][column]["accuracy"]["mean"] for column in COLUMNS}
            students = [f"{run['student']['accuracy']:.3f}" for run in results["runs"].values()]
            rows.append({"task": f"{name}:{EXAMPLES[name]}", "model": label, **means, "students": " ".join(students)})
    return judged(rows, "pet student")


def demo(models: Models, options: Row) -> list[Row]:
    """The command that `make demo` runs, with each model but the yardstick, as its own process on all cores."""
    from pet.run.pipeline import headline_metrics

    news = HERE.parent / "data" / "news"
    pairs = [(f"--{part}", str(news / f"{part}.jsonl")) for part in ("train", "unlabeled", "test")]
    pairs += [("--set", change) for change in options["changes"]]
    words = [sys.executable, "-m", "pet", "run", "news", "--examples", "10", "--baselines", "--json"]
    words += [word for pair in pairs for word in pair]
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    rows = []
    for label, model in list(models.items())[1:]:
        # A new folder each time: what another run has left would not be made, and not be timed.
        with tempfile.TemporaryDirectory(prefix="demo-", dir=options["work"]) as folder:
            begun = time.perf_counter()
            command = [*words, "-m", model, "-o", folder]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
            seconds = time.perf_counter() - begun
        results = json.loads(done.stdout)
        figures = {row: found["accuracy"] for row, found in headline_metrics(results).items()}
        one_text = 1 / results["data"]["test"]  # above is more than equal
        missing = 100 * (figures["supervised"] + one_text - figures["pet student"])
        row = {"model": label, "wall s": seconds, **{column: figures[column] for column in COLUMNS}}
        row[f"at most {MOST_SECONDS} s"] = verdict(seconds - MOST_SECONDS, "s")
        rows.append(row | {"student above supervised": verdict(missing, "points")})
    return rows


PARTS = {"zero-shot": zero_shot, "speed": speed, "pet": few_shot, "demo": demo}
KEPT = ["rows", "split", "tasks", "seeds", "settings", "changes", "pool_size", "test_rows", "speed_rows", "rounds"]


def machine() -> Row:
    """What the figures depend on besides the models."""
    import torch

    from pet.training.device import make_accelerator

    return common.machine() | {
        "threads": torch.get_num_threads(),
        "precision": make_accelerator("cpu").mixed_precision,
        "versions": versions(),
    }


def listed(text: str, known: Sequence[str]) -> list[str]:
    """The names in an option that holds several, with commas between them."""
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise click.UsageError(f"{', '.join(unknown)}: there are {', '.join(known)}")
    return names


@click.command()
@click.option("--model", "candidates", multiple=True, help="Repeatable.  [default: models/mini-en]")
@click.option("--against", "yardstick", default="../shared/models/minilm-mlm-en", show_default=True)
@click.option("--parts", default=",".join(PARTS), show_default=True)
@click.option("--tasks", default=",".join(EXAMPLES), show_default=True)
@click.option("--data", type=click.Path(path_type=Path), default=Path("../shared/data"), show_default=True)
@click.option("--rows", default=2000, show_default=True, help="Of each task, for zero-shot.")
@click.option("--split", type=click.Choice(["test", "train"]), default="test", show_default=True, help="For zero-shot.")
@click.option("--speed-rows", default=500, show_default=True)
@click.option("--rounds", default=5, show_default=True, help="For speed.")
@click.option("--seeds", default=3, show_default=True)
@click.option("--pool-size", default=600, show_default=True)
@click.option("--test-rows", default=500, show_default=True, help="For PET.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="max_length is 128 but in the demo.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("runs/embedded"), show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=HERE / "results" / "embedded.jsonl")
def main(candidates: tuple[str, ...], yardstick: str, parts: str, out: Path, **options: Any) -> None:
    """Measure models against a yardstick and say which bars are met."""
    from pet.backbones.load import model_fingerprint

    wanted = listed(parts, list(PARTS))
    options["tasks"] = listed(options["tasks"], list(EXAMPLES))
    options["settings"] = {"max_length": "128"} | dict(change.split("=", 1) for change in options["changes"])
    models = label_models([yardstick, *(candidates or [str(HERE.parent / "models" / "mini-en")])])
    options["work"].mkdir(parents=True, exist_ok=True)
    hashes = {label: model_fingerprint(model)[:12] for label, model in models.items()}
    about = {"options": {key: options[key] for key in KEPT}, "models": hashes}
    for part in wanted:
        begun = {"part": part, "date": common.now(), "machine": machine()}
        rows = PARTS[part](models, options)
        header = list(dict.fromkeys(key for row in rows for key in row))
        click.echo(f"\n{part}\n\n{text_table([[row.get(key) for key in header] for row in rows], header)}\n")
        common.append(out, {**begun, **about, "figures": rows})


if __name__ == "__main__":
    main()
