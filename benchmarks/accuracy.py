"""PET, supervised and zero-shot on real data: accuracy by task, number of examples and seed.

    python benchmarks/accuracy.py agnews:10 agnews:50 sst2:32 --seeds 3

Reads ../shared (data sets and models that are not part of the project). Each line of the output file
is one run with its three methods; lines that are there already are not run again. At the end the
table is written as Markdown beside it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import click
from common import HERE, make_missing, markdown, spread, wanted_runs

MODELS = {"eprstmt": "albert-tiny-zh"}
COLUMNS = ["zero-shot", "supervised", "pet ensemble", "pet student"]


def first_rows(source: Path, count: int, target: Path) -> Path:
    """The first rows of a file: the test sets are larger than two cores have time for."""
    with source.open(encoding="utf-8") as lines:
        target.write_text("".join(islice(lines, count)), encoding="utf-8")
    return target


def one_run(wanted: dict[str, Any], options: dict[str, Any], shared: Path) -> dict[str, Any]:
    """Train and measure all three methods once."""
    from pet.progress import Reporter
    from pet.report.tables import HEADLINE
    from pet.run.pipeline import headline_metrics, run
    from pet.run.settings import RunSettings
    from pet.task.task import Task

    name = wanted["task"]
    data = shared / "data" / name
    with tempfile.TemporaryDirectory(prefix="pet-accuracy-") as folder:
        test = first_rows(data / "test.jsonl", options["test_rows"], Path(folder) / "test.jsonl")
        settings = RunSettings(
            task=Task.load(name).to_dict(),
            train=str(data / "train.jsonl"),
            unlabeled=str(data / "unlabeled.jsonl"),
            test=str(test),
            model=str(shared / "models" / MODELS.get(name, options["model"])),
            examples=wanted["examples"],
            pool_size=options["pool_size"],
            seed=wanted["seed"],
            recipe=options["recipe"],
            settings=options["settings"],
            baselines=True,
        )
        begun = time.monotonic()
        result = run(settings, Path(folder) / "run", Reporter("plain"))
        seconds = time.monotonic() - begun
        shutil.rmtree(Path(folder) / "run")
    rows = headline_metrics(result)
    members = {member: figures["accuracy"] for member, figures in result["members"].items()}
    return {
        **wanted,
        "pool": result["data"]["pool"],
        "test": result["data"]["test"],
        "seconds": round(seconds),
        "cores": os.cpu_count(),
        "results": {row: {figure: rows[row][figure] for figure in HEADLINE} for row in COLUMNS},
        "members": members,
    }


def table(lines: list[dict[str, Any]]) -> str:
    """Mean and standard deviation over seeds, as Markdown."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for line in lines:
        length = line["settings"].get("max_length", "256")
        groups.setdefault(
            (line["task"], line["examples"], line["model"], line["pool"], line["test"], length), []
        ).append(line)
    head = ["task", "examples", *COLUMNS, "one member", "seeds", "minutes a run", "pool", "test", "tokens", "model"]
    rows = []
    for (name, examples, model, *sizes), runs in sorted(groups.items()):
        cells = [name, str(examples)]
        for column in COLUMNS:
            cells.append(spread([run["results"][column]["accuracy"] for run in runs]))
        singles = [accuracy for run in runs for accuracy in run["members"].values()]
        minutes = sum(run["seconds"] for run in runs) / len(runs) / 60
        cells += [f"{100 * sum(singles) / len(singles):.1f}", str(len(runs)), f"{minutes:.1f}"]
        rows.append([*cells, *sizes, model])
    return markdown(head, rows)


INTRO = """# Accuracy: PET, supervised and zero-shot

Made by `python benchmarks/accuracy.py`; every run is a line of the file beside this one, with its settings.
Accuracy in per cent, mean and standard deviation over seeds, on the first rows of each test set. "one member" is
the mean over the members of all seeds; "tokens" is `max_length`; "minutes a run" is a whole run with both baselines.

"""


@click.command()
@click.argument("wanted", nargs=-1, metavar="TASK:EXAMPLES...")
@click.option("--seeds", default=3, show_default=True)
@click.option("--shared", type=click.Path(path_type=Path), default=Path("../shared"), show_default=True)
@click.option("--model", default="minilm-mlm-en", show_default=True)
@click.option("--pool-size", default=1000, show_default=True)
@click.option("--test-rows", default=1000, show_default=True)
@click.option("--recipe", default="default", show_default=True)
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=HERE / "results" / "accuracy.jsonl")
def main(
    wanted: tuple[str, ...], seeds: int, shared: Path, output: Path, changes: tuple[str, ...], **options: Any
) -> None:
    """Run what is not there yet and print the table."""
    options["settings"] = dict(change.split("=", 1) for change in changes)
    same = {"recipe": options["recipe"], "settings": options["settings"]}
    runs = [
        run | same | {"model": Path(MODELS.get(run["task"], options["model"])).name}
        for run in wanted_runs(wanted, seeds)
    ]
    done = make_missing(output, runs, lambda run: one_run(run, options, shared), lambda lines: INTRO + table(lines))
    click.echo(table(done))


if __name__ == "__main__":
    main()
