"""The eight tasks of SuperGLUE with FewGLUE's 32 examples: untrained patterns and PET, beside published figures.

    python benchmarks/superglue.py --rows 100000
    python benchmarks/superglue.py --recipe default --set repetitions=1 --set max_length=128 --rows 60

PET learns from the whole of FewGLUE's train files and ends with its ensemble; there is no student. ReCoRD has no
validation file there, so half of its training questions are held out. Lines that exist are not made again.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import common

FOLDERS = {
    name.lower(): name for name in ("BoolQ", "CB", "COPA", "RTE", "WiC", "WSC", "MultiRC", "ReCoRD")
}  # task -> folder
# Schick and Schütze 2021, arXiv 2009.07118, table 1: ALBERT-xxlarge-v2, 32 examples, validation sets. Only figures that
# were compared with a second listing.
PUBLISHED = {"iPET": {"cb": "– / 92.4", "rte": "74.0"}}
METRICS = {"cb": ("accuracy", "macro_f1"), "multirc": ("f1a", "em"), "record": ("token_f1", "em")}
NAMES = {"accuracy": "accuracy", "macro_f1": "macro F1", "f1a": "F1a", "em": "EM", "token_f1": "token F1"}
INTRO = """# SuperGLUE with FewGLUE's 32 examples

Ours: an ensemble without a student, on the first rows of the validation sets; model, recipe and changed settings are in
each line. Published: Schick and Schütze 2021 (arXiv 2009.07118, table 1), ALBERT-xxlarge-v2, the whole validation sets.

"""


def files_of(task: str, data: Path, rows: int, folder: Path) -> tuple[str, str]:
    """Write the training rows and at most `rows` test rows in FewGLUE's format; return the two files.

    A row of MultiRC is a passage with many answers, of which 1 / 30 as many are taken.
    """
    place = data / "fewglue" / FOLDERS[task]
    train = place.joinpath("train.jsonl").read_text(encoding="utf-8").splitlines()
    test = place / "val.jsonl"
    if test.exists():
        lines = test.read_text(encoding="utf-8").splitlines()[: max(1, rows // (30 if task == "multirc" else 1))]
    else:
        train, lines = train[: len(train) // 2], train[len(train) // 2 :]
    for name, kept in (("train", train), ("test", lines)):
        (folder / f"{name}.jsonl").write_text("".join(line + "\n" for line in kept), encoding="utf-8")
    return str(folder / "train.jsonl"), str(folder / "test.jsonl")


def one_line(wanted: Mapping[str, Any], shared: Path) -> dict[str, Any]:
    """Run one method on one task and return its metrics."""
    from pet.run.pipeline import run
    from pet.run.settings import RunSettings
    from pet.task.task import Task

    begun, cpu = time.perf_counter(), sum(os.times()[:4])
    model = shared / "models" / wanted["model"]
    with tempfile.TemporaryDirectory(prefix="pet-superglue-") as place:
        folder = Path(place)
        train, test = files_of(wanted["task"], shared / "data", wanted["rows"], folder)
        settings = RunSettings(
            task=Task.load(wanted["task"]).to_dict(),
            train=None if wanted["method"] == "zero-shot" else train,
            unlabeled=None,
            test=test,
            model=str(model) if model.is_dir() else wanted["model"],
            method=wanted["method"],
            recipe=wanted["recipe"],
            settings=wanted["settings"],
            seed=wanted["seed"],
        )
        found = run(settings, folder / "run")
    ensemble = found["ensemble"]
    figures = {name: ensemble[name] for name in ("n", "groups", *NAMES) if name in ensemble}
    support = [row["support"] for row in ensemble["per_class"].values()]
    chance = {"majority": max(support) / sum(support)}
    cost = {"cpu": round(sum(os.times()[:4]) - cpu, 1), "seconds": round(time.perf_counter() - begun)}
    return {**wanted, **figures, **chance, **cost}


def page(lines: list[Any]) -> str:
    """Return the results as a Markdown table, one row for each model and method."""
    head = ["", *(f"{FOLDERS[task]} ({', '.join(NAMES[m] for m in metrics(task))})" for task in FOLDERS)]
    rows: list[list[str]] = [
        [f"{name}, ALBERT-xxlarge-v2 (published)", *(cells.get(task, "") for task in FOLDERS)]
        for name, cells in PUBLISHED.items()
    ]
    kinds = dict.fromkeys(
        (line["model"], line["method"], line["recipe"], json.dumps(line["settings"])) for line in lines
    )
    for kind in kinds:
        keys = ("model", "method", "recipe")
        mine = [line for line in lines if (*map(line.get, keys), json.dumps(line["settings"])) == kind]
        changed = " ".join([kind[2], *(f"{key}={value}" for key, value in json.loads(kind[3]).items())])
        rows.append([f"{kind[1]}, {kind[0]} ({changed})", *(_cell(task, mine) for task in FOLDERS)])
    majority = {line["task"]: f"{100 * line['majority']:.1f}" for line in lines}
    rows.append(["the most frequent label (accuracy)", *(majority.get(task, "") for task in FOLDERS)])
    tested = {line["task"]: str(line.get("groups", line["n"])) for line in lines}
    rows.append(["rows (MultiRC, ReCoRD: questions)", *(tested.get(task, "") for task in FOLDERS)])
    return common.markdown(head, rows)


def metrics(task: str) -> tuple[str, ...]:
    """Return the metrics of a task."""
    return METRICS.get(task, ("accuracy",))


def _cell(task: str, lines: list[Any]) -> str:
    found = [line for line in lines if line["task"] == task]
    return " / ".join(common.spread([line[metric] for line in found]) for metric in metrics(task)) if found else ""


@click.command()
@click.argument("tasks", nargs=-1, metavar="[TASK]...")
@click.option("--seeds", default=1, show_default=True, help="Number of seeds.")
@common.settings_option
@common.output_option(common.HERE / "results" / "superglue.jsonl")
@common.shared_option
@common.threads_option
@click.option("--model", default="minilm-mlm-en", show_default=True, help="Model in ../shared/models, or any other.")
@click.option("--recipe", default="fewglue", show_default=True, help="Recipe of PET.")
@click.option("--method", "methods", multiple=True, default=("zero-shot", "pet"), help="Method.  [default: both]")
@click.option("--rows", default=200, show_default=True, help="Rows of the validation files.")
def main(
    tasks: tuple[str, ...],
    seeds: int,
    changes: tuple[str, ...],
    output: Path,
    shared: Path,
    threads: int,
    model: str,
    recipe: str,
    methods: tuple[str, ...],
    rows: int,
) -> None:
    """Make the lines that are missing and print the table. Default: all tasks."""
    import torch

    torch.set_num_threads(threads)
    if unknown := [task for task in tasks if task not in FOLDERS]:
        raise click.UsageError(f"unknown task {unknown[0]}; tasks are {', '.join(FOLDERS)}")
    same = {"model": model, "rows": rows, "recipe": recipe}
    runs = [
        {"task": task, "method": method, "seed": seed, **same, "settings": common.setting_pairs(changes)}
        for seed in range(seeds)
        for method in methods
        for task in tasks or FOLDERS
    ]

    def make(wanted: Mapping[str, Any]) -> dict[str, Any]:
        click.echo(f"{wanted['task']} {wanted['method']} seed {wanted['seed']}", err=True)
        return one_line(wanted, shared)

    done = common.make_missing(output, runs, make, lambda lines: INTRO + page(lines))
    click.echo(page(done))


if __name__ == "__main__":
    main()
