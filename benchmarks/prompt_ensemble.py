"""A PET ensemble of eight prompts on one model against eight whole models: accuracy, bytes, and labeling.

    python benchmarks/prompt_ensemble.py sst2:32 agnews:32 --seeds 3

Reads ../shared (data sets and models that are not part of the project). Members are trained with the auxiliary loss,
four patterns twice each. Labeling is `pet label` in a process of its own, its start included, as somebody would run
it: its time and its peak of memory. A line of the output file is one ensemble; lines that are there already are not
made again. At the end the table is written as Markdown beside it.
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
from accuracy import first_rows
from common import HERE, SHARED, make_missing, markdown, run_alone, spread, wanted_runs

PATTERNS, REPETITIONS = 4, 2
TUNINGS = ("full", "prompt")


def one_ensemble(wanted: dict[str, Any], places: dict[str, str]) -> dict[str, Any]:
    """Train eight members, measure them, and label texts with them.

    Both in processes of their own: a process begins with the peak of memory of the one that starts it.
    """
    texts = Path(places["data"]) / wanted["task"] / "unlabeled.jsonl"
    with tempfile.TemporaryDirectory(prefix="pet-eight-") as name:
        folder = Path(name)
        found = run_alone(__file__, "--train", wanted | places | {"folder": name})
        some = first_rows(texts, wanted["texts"], folder / "texts.jsonl")
        labeling = label(folder / "run", some, folder / "labels.parquet")
    return {**wanted, **found, "labeling": labeling}


def train(wanted: dict[str, Any]) -> dict[str, Any]:
    """Eight members and their accuracy, in the folder ``run``."""
    from pet.progress import Reporter
    from pet.run.pipeline import run
    from pet.run.settings import RunSettings
    from pet.task.task import Task

    data, folder = Path(wanted["data"]) / wanted["task"], Path(wanted["folder"])
    task = Task.load(wanted["task"]).to_dict()
    task["patterns"] = task["patterns"][:PATTERNS]
    changes = {"tuning": wanted["tuning"], "repetitions": REPETITIONS, "student_steps": 0}
    settings = RunSettings(
        task=task,
        train=str(data / "train.jsonl"),
        unlabeled=str(data / "unlabeled.jsonl"),
        test=str(first_rows(data / "test.jsonl", wanted["test_rows"], folder / "test.jsonl")),
        model=wanted["path"],
        examples=wanted["examples"],
        pool_size=wanted["pool"],
        seed=wanted["seed"],
        settings=wanted["settings"] | changes,
    )
    result = run(settings, folder / "run", Reporter("plain"))
    return {
        "accuracy": result["ensemble"]["accuracy"],
        "member_accuracy": [figures["accuracy"] for figures in result["members"].values()],
        "ensemble_bytes": sum(size_of(folder / "run" / "g0" / member) for member in result["members"]),
    }


def size_of(folder: Path) -> int:
    """Bytes that a member keeps on disk: weights, tokenizer, settings; no scores."""
    kept = (".safetensors", ".json", ".txt", ".model")
    return sum(path.stat().st_size for path in folder.rglob("*") if path.suffix in kept)


def label(run: Path, texts: Path, output: Path) -> dict[str, float]:
    """Processor and wall seconds and the peak of memory of ``pet label`` in a process of its own."""
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
    """Means over seeds, as Markdown."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for line in lines:
        key = (line["task"], line["examples"], line["model"], line["texts"], TUNINGS.index(line["tuning"]))
        groups.setdefault(key, []).append(line)
    head = ["task", "examples", "eight of", "ensemble", "one member", "MB, all eight", "texts labeled", "CPU seconds",
            "wall seconds", "peak MB", "seeds", "model"]  # fmt: skip
    rows = []
    for (name, examples, model, texts, tuning), runs in sorted(groups.items()):
        used = {key: fmean(run["labeling"][key] for run in runs) for key in runs[0]["labeling"]}
        cells = [
            name, examples, TUNINGS[tuning], spread([run["accuracy"] for run in runs]),
            f"{100 * fmean(x for run in runs for x in run['member_accuracy']):.1f}",
            f"{fmean(run['ensemble_bytes'] for run in runs) / 1e6:,.2f}", texts, f"{used['cpu_seconds']:.1f}",
            f"{used['wall_seconds']:.1f}", f"{used['peak_bytes'] / 1e6:,.0f}", len(runs), model,
        ]  # fmt: skip
        rows.append(cells)
    return markdown(head, rows)


INTRO = """# Eight prompts against eight models

Made by `python benchmarks/prompt_ensemble.py`; every ensemble is a line of the file beside this one. Accuracy in per
cent on the first rows of the test set, mean and standard deviation over seeds. Bytes, time and memory are those of the
whole ensemble; the prompts also need the pretrained model, once. Labeling is `pet label`, its start included.

"""


@click.command()
@click.argument("wanted", nargs=-1, metavar="TASK:EXAMPLES...")
@click.option("--seeds", default=3, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), default=SHARED / "data", show_default=True)
@click.option("--model", type=click.Path(path_type=Path), default=SHARED / "models" / "minilm-mlm-en")
@click.option("--pool", default=500, show_default=True, help="unlabeled texts for the auxiliary loss")
@click.option("--texts", default=1000, show_default=True, help="that are labeled afterwards")
@click.option("--test-rows", default=300, show_default=True)
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE")
@click.option("--train", "training", hidden=True, help="One ensemble, as JSON: what the others are started with.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=HERE / "results" / "prompt_ensemble.jsonl")
def main(
    wanted: tuple[str, ...],
    seeds: int,
    data: Path,
    model: Path,
    changes: tuple[str, ...],
    training: str | None,
    output: Path,
    **sizes: int,
) -> None:
    """Make what is not there yet and print the table."""
    if training is not None:
        click.echo(json.dumps(train(json.loads(training))))
        return
    same = {"settings": dict(change.split("=", 1) for change in changes), "model": model.name, **sizes}
    runs = [run | same | {"tuning": tuning} for run in wanted_runs(wanted, seeds) for tuning in TUNINGS]
    places = {"data": str(data), "path": str(model)}
    done = make_missing(output, runs, lambda run: one_ensemble(run, places), lambda lines: INTRO + table(lines))
    click.echo(table(done))


if __name__ == "__main__":
    main()
