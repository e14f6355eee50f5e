"""A PET ensemble of eight prompts on one model, compared with eight fine-tuned models: accuracy, size, and labeling.

    python benchmarks/prompt_ensemble.py sst2:32 agnews:32 --seeds 3

Reads the data sets and models in ../shared, which are not part of the project. Members are trained with the auxiliary
loss: four patterns, twice each. Labeling is measured on `pet label` in a process of its own, startup included: its time
and its peak of memory. Each line of the output file is one ensemble; ensembles that are already in the file are
skipped. The table is also written as Markdown next to the output file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import click
import common

PATTERNS, REPETITIONS = 4, 2
TUNINGS = ("full", "prompt")
KEPT = (".safetensors", ".json", ".txt", ".model")  # endings of the files that a member keeps
INTRO = """# Eight prompts and eight models

Produced by `python benchmarks/prompt_ensemble.py`. Every ensemble is a line of the JSON lines file next to this one.
Accuracy in percent on the first rows of the test set, mean and standard deviation over seeds. Size, time and memory are
those of the whole ensemble; the prompts also need the pretrained model, once. Labeling is `pet label`, startup
included.

"""


def one_ensemble(wanted: dict[str, Any], places: dict[str, str]) -> dict[str, Any]:
    """Train eight members, evaluate them, and label texts with them.

    Both happen in processes of their own: a process inherits the peak of memory of its parent.
    """
    texts = Path(places["data"]) / wanted["task"] / "unlabeled.jsonl"
    with tempfile.TemporaryDirectory(prefix="pet-eight-") as name:
        folder = Path(name)
        found = common.run_alone(__file__, "--train", wanted | places | {"folder": name})
        some = common.first_rows(texts, wanted["texts"], folder / "texts.jsonl")
        labeling = label(folder / "run", some, folder / "labels.parquet")
    return {**wanted, **found, "labeling": labeling}


def train(wanted: dict[str, Any]) -> dict[str, Any]:
    """Train eight members in the subfolder ``run``."""
    from pet.task.task import Task

    folder, task = Path(wanted["folder"]), Task.load(wanted["task"]).to_dict()
    task["patterns"] = task["patterns"][:PATTERNS]
    changes = {"tuning": wanted["tuning"], "repetitions": REPETITIONS, "student_steps": 0}
    settings = {
        "task": task,
        "model": wanted["path"],
        "examples": wanted["examples"],
        "pool_size": wanted["pool"],
        "seed": wanted["seed"],
        "settings": wanted["settings"] | changes,
    }
    result, _ = common.run_in(folder, Path(wanted["data"]) / wanted["task"], wanted["test_rows"], settings)
    return {
        "accuracy": result["ensemble"]["accuracy"],
        "member_accuracy": [figures["accuracy"] for figures in result["members"].values()],
        "ensemble_bytes": sum(size_of(folder / "run" / stage) for stage in common.member_stages(folder / "run")),
    }


def size_of(folder: Path) -> int:
    """Return the bytes that a member keeps on disk: weights, tokenizer and settings, without scores."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.suffix in KEPT)


def label(run: Path, texts: Path, output: Path) -> dict[str, float]:
    """Measure CPU seconds, wall seconds and the peak of memory of ``pet label`` in a process of its own."""
    command = [sys.executable, "-m", "pet", "label", str(run), "--input", str(texts)]
    command += ["-o", str(output), "--quiet"]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return {
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "wall_seconds": round(time.perf_counter() - begun, 1),
        "peak_bytes": used.ru_maxrss * 1024,
    }


def table(lines: list[dict[str, Any]]) -> str:
    """Format means over seeds as Markdown."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for line in lines:
        key = (line["task"], line["examples"], line["model"], line["texts"], TUNINGS.index(line["tuning"]))
        groups.setdefault(key, []).append(line)
    head = ["task", "examples", "tuning", "ensemble", "one member", "MB (ensemble)", "texts labeled",
            "CPU seconds", "wall seconds", "peak MB", "seeds", "model"]  # fmt: skip
    rows = []
    for (name, examples, model, texts, tuning), runs in sorted(groups.items()):
        used = {key: fmean(run["labeling"][key] for run in runs) for key in runs[0]["labeling"]}
        cells = [
            name, examples, TUNINGS[tuning], common.spread([run["accuracy"] for run in runs]),
            f"{100 * fmean(x for run in runs for x in run['member_accuracy']):.1f}",
            f"{fmean(run['ensemble_bytes'] for run in runs) / 1e6:,.2f}", texts, f"{used['cpu_seconds']:.1f}",
            f"{used['wall_seconds']:.1f}", f"{used['peak_bytes'] / 1e6:,.0f}", len(runs), model,
        ]  # fmt: skip
        rows.append(cells)
    return common.markdown(head, rows)


@click.command()
@common.run_options("prompt_ensemble")
@common.data_option
@common.model_option
@click.option("--pool", default=500, show_default=True, help="Unlabeled texts for the auxiliary loss.")
@click.option("--texts", default=1000, show_default=True, help="Texts to label.")
@click.option("--test-rows", default=300, show_default=True, help="Texts of the test set.")
@click.option("--train", "training", hidden=True, help="Train one ensemble, given as JSON.")
def main(
    wanted: tuple[str, ...], seeds: int, data: Path, model: Path, changes: tuple[str, ...], training: str | None,
    output: Path, **sizes: int,
) -> None:  # fmt: skip
    """Make the ensembles that are missing and print the table."""
    if training is not None:
        click.echo(json.dumps(train(json.loads(training))))
        return
    same = {"settings": common.setting_pairs(changes), "model": model.name, **sizes}
    runs = [run | same | {"tuning": tuning} for run in common.wanted_runs(wanted, seeds) for tuning in TUNINGS]
    places = {"data": str(data), "path": str(model)}
    done = common.make_missing(output, runs, lambda run: one_ensemble(run, places), lambda lines: INTRO + table(lines))
    click.echo(table(done))


if __name__ == "__main__":
    main()
