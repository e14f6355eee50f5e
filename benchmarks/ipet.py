"""iPET beside PET on real data: accuracy of the students, and how right the labels of each generation are.

    python benchmarks/ipet.py agnews:0 agnews:10 sst2:32 --seeds 3

Reads ../shared (data sets and models that are not part of the project). A run with no labeled texts is given as
TASK:0. Each line of the output file is one run; lines that are there already are not run again. At the end the tables
are written as Markdown beside it. The hidden labels of the pool go through --pool-gold, which no training reads.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import click
from accuracy import first_rows
from common import HERE, make_missing, markdown, spread, wanted_runs

Line = dict[str, Any]
INTRO = """# Accuracy: iPET beside PET

Made by `python benchmarks/ipet.py`; every run is a line of the file beside this one, with its settings. Accuracy in
per cent, mean and standard deviation over seeds. All columns of a row come from the same runs: PET is the first
generation of iPET with a student of its own. "one pattern" is the mean over the untrained patterns, "zero-shot" all of
them merged.

"""
FACTS = ["seeds", "minutes a run", "pool", "test", "settings"]
COLUMNS = ["one pattern", "zero-shot", "supervised", "PET ensemble", "PET student", "iPET ensemble", "iPET student"]


def one_run(wanted: Line, options: dict[str, Any], shared: Path) -> Line:
    """Run iPET and, from the same examples, everything that it is compared with."""
    from pet.progress import Reporter
    from pet.run.pipeline import run
    from pet.run.settings import RunSettings
    from pet.task.task import Task

    name, examples = wanted["task"], wanted["examples"]
    data = shared / "data" / name
    with tempfile.TemporaryDirectory(prefix="pet-ipet-") as folder:
        test = first_rows(data / "test.jsonl", options["test_rows"], Path(folder) / "test.jsonl")
        settings = RunSettings(
            task=Task.load(name).to_dict(),
            train=str(data / "train.jsonl") if examples else None,
            unlabeled=str(data / "unlabeled.jsonl"),
            test=str(test),
            model=str(shared / "models" / options["model"]),
            method="ipet",
            examples=examples or None,
            pool_size=options["pool_size"],
            seed=wanted["seed"],
            settings=options["settings"],
            baselines=True,
        )
        begun = time.monotonic()
        gold = str(data / "unlabeled_gold.jsonl")
        result = run(settings, Path(folder) / "run", Reporter("plain"), pool_gold=gold)
        seconds = time.monotonic() - begun
        shutil.rmtree(Path(folder) / "run")
    return {
        **wanted,
        "pool": result["data"]["pool"],
        "test": result["data"]["test"],
        "seconds": round(seconds),
        "cores": os.cpu_count(),
        "accuracy": _accuracies(result),
        "generations": [_generation(entry) for entry in result["generations"]],
    }


def _accuracies(result: dict[str, Any]) -> dict[str, float]:
    """The columns of the table that a run has."""
    baselines = result["baselines"]
    found = {
        "one pattern": fmean(m["accuracy"] for m in baselines["zero-shot"]["members"].values()),
        "zero-shot": baselines["zero-shot"]["ensemble"]["accuracy"],
        "iPET ensemble": result["ensemble"]["accuracy"],
        "iPET student": result["student"]["accuracy"],
    }
    if "supervised" in baselines:
        found["supervised"] = baselines["supervised"]["student"]["accuracy"]
        found["PET ensemble"] = baselines["pet"]["ensemble"]["accuracy"]
        found["PET student"] = baselines["pet"]["student"]["accuracy"]
    return found


def _generation(entry: dict[str, Any]) -> Line:
    from pet.report.generations import training_texts

    return {
        "texts": training_texts(entry) if entry["trained"] else 0,
        "agreement": entry["pool"]["agreement"],
        "confidence": entry["pool"]["confidence"],
        "pool": entry["gold"]["accuracy"],
        "chosen": entry["gold"].get("chosen_accuracy"),
        "test": entry["test"]["accuracy"],
    }


def table(lines: Sequence[Line]) -> str:
    """Accuracies, and below them the generations, as Markdown."""
    groups: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        settings = " ".join(f"{key}={value}" for key, value in line["settings"].items())
        groups.setdefault((line["task"], line["examples"], line["pool"], line["test"], settings), []).append(line)
    rows, generations = [], []
    for (name, examples, pool, test, settings), runs in sorted(groups.items()):
        known = [column for column in COLUMNS if column in runs[0]["accuracy"]]
        cells = {column: spread([run["accuracy"][column] for run in runs]) for column in known}
        minutes = f"{fmean(run['seconds'] for run in runs) / 60:.1f}"
        facts = [str(len(runs)), minutes, str(pool), str(test), settings]
        rows.append([name, str(examples), *(cells.get(column, "-") for column in COLUMNS), *facts])
        for number in range(min(len(run["generations"]) for run in runs)):
            entries = [run["generations"][number] for run in runs]
            chosen = "-" if entries[0]["chosen"] is None else spread([e["chosen"] for e in entries])
            figures = [spread([e[key] for e in entries]) for key in ("pool", "test", "agreement", "confidence")]
            texts = f"{fmean(e['texts'] for e in entries):.0f}"
            generations.append([name, str(examples), str(number), texts, chosen, *figures, settings])
    header = ["task", "examples", "generation", "texts per member", "chosen accuracy", "pool accuracy"]
    header += ["test accuracy", "agreement", "confidence", "settings"]
    first = markdown(["task", "examples", *COLUMNS, *FACTS], rows)
    return f"{first}\n## Generations\n\n{markdown(header, generations)}"


@click.command()
@click.argument("wanted", nargs=-1, metavar="TASK:EXAMPLES...")
@click.option("--seeds", default=3, show_default=True)
@click.option("--shared", type=click.Path(path_type=Path), default=Path("../shared"), show_default=True)
@click.option("--model", default="minilm-mlm-en", show_default=True)
@click.option("--pool-size", default=2000, show_default=True)
@click.option("--test-rows", default=500, show_default=True)
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=HERE / "results" / "ipet.jsonl")
def main(
    wanted: tuple[str, ...], seeds: int, shared: Path, output: Path, changes: tuple[str, ...], **options: Any
) -> None:
    """Run what is not there yet and print the tables."""
    options["settings"] = dict(change.split("=", 1) for change in changes)
    same = {"model": Path(options["model"]).name, "settings": options["settings"]}
    runs = [run | same for run in wanted_runs(wanted, seeds)]
    done = make_missing(output, runs, lambda run: one_run(run, options, shared), lambda lines: INTRO + table(lines))
    click.echo(table(done))


if __name__ == "__main__":
    main()
