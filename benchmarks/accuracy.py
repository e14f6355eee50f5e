"""Accuracy of PET and of baselines on real data, by task, number of examples and seed.

    python benchmarks/accuracy.py agnews:10 agnews:50 sst2:32 --seeds 3

Reads the data sets and models in ../shared, which are not part of the project, or data sets of your own with --data: a
folder for each, with train.jsonl, unlabeled.jsonl, test.jsonl and, unless its name is that of a task of the package,
task.yaml. Each line of the output file is one run with all methods; runs that are already in the file are skipped. The
table is also written as Markdown next to the output file.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import click
import common

MODELS = {"eprstmt": "albert-tiny-zh"}  # of tasks in other languages
BASELINES = ["tfidf", "embeddings"]
COLUMNS = ["zero-shot", *BASELINES, "supervised", "pet ensemble", "pet student"]
INTRO = """# Accuracy: PET and baselines

Produced by `python benchmarks/accuracy.py`. Every run is a line of the JSON lines file next to this one, with its
settings. Accuracy in percent, mean and standard deviation over seeds, on the first rows of each test set. "Estimated"
is what each run itself says about its ensemble, without test labels (earlier lines do not have it), "one member" is the
mean over the patterns of all seeds, "tokens" is `max_length`, and "minutes" is the time of a whole run with all
baselines.

"""


def one_run(wanted: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Train and evaluate all methods once."""
    from pet.report.tables import HEADLINE
    from pet.run.results import headline_metrics
    from pet.task.task import Task

    name = wanted["task"]
    data = options["data"] / name
    own = data / "task.yaml"
    settings = {
        "task": Task.load(str(own) if own.exists() else name).to_dict(),
        "model": str(common.SHARED / "models" / MODELS.get(name, options["model"])),
        "examples": wanted["examples"],
        "pool_size": options["pool_size"],
        "seed": wanted["seed"],
        "recipe": options["recipe"],
        "settings": options["settings"],
        "baselines": True,
    }
    with tempfile.TemporaryDirectory(prefix="pet-accuracy-") as folder:
        result, seconds = common.run_in(Path(folder), data, options["test_rows"], settings)
    rows, estimate = headline_metrics(result), result.get("estimate")
    return {
        **wanted,
        "pool": result["data"]["pool"],
        "test": result["data"]["test"],
        "seconds": round(seconds),
        "cores": os.cpu_count(),
        "estimate": estimate and [estimate[name] for name in ("accuracy", "low", "high")],
        "results": {row: {figure: rows[row][figure] for figure in HEADLINE} for row in COLUMNS},
        "members": {
            member: figures["accuracy"]
            for member, figures in result["members"].items()
            if not any(member.endswith(name) for name in BASELINES)
        },
    }


def table(lines: list[dict[str, Any]]) -> str:
    """Format mean and standard deviation over seeds as Markdown."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for line in lines:
        length = line["settings"].get("max_length", "256")
        groups.setdefault(
            (line["task"], line["examples"], line["model"], line["pool"], line["test"], length), []
        ).append(line)
    head = ["task", "examples", *COLUMNS, "estimated", "one member"]
    head += ["seeds", "minutes", "pool", "test", "tokens", "model"]
    rows = []
    for (name, examples, model, *sizes), runs in sorted(groups.items()):
        cells = [name, str(examples)]
        for column in COLUMNS:
            cells.append(common.spread([run["results"][column]["accuracy"] for run in runs]))
        cells.append("; ".join(_interval(run["estimate"]) for run in runs if run.get("estimate")) or "-")
        singles = [accuracy for run in runs for accuracy in run["members"].values()]
        minutes = sum(run["seconds"] for run in runs) / len(runs) / 60
        cells += [f"{100 * sum(singles) / len(singles):.1f}", str(len(runs)), f"{minutes:.1f}"]
        rows.append([*cells, *sizes, model])
    return common.markdown(head, rows)


def _interval(estimate: list[float]) -> str:
    middle, low, high = (f"{100 * share:.0f}" for share in estimate)
    return f"{middle} ({low} to {high})"


@click.command()
@common.run_options("accuracy")
@common.data_option
@click.option("--model", default="minilm-mlm-en", show_default=True, help="Name of a model in ../shared/models.")
@click.option("--pool-size", default=1000, show_default=True, help="Unlabeled texts.")
@click.option("--test-rows", default=1000, show_default=True, help="Texts of the test set.")
@click.option("--recipe", default="default", show_default=True, help="Named recipe.")
def main(wanted: tuple[str, ...], seeds: int, output: Path, changes: tuple[str, ...], **options: Any) -> None:
    """Make the runs that are missing and print the table."""
    options["settings"] = common.setting_pairs(changes)
    same = {"recipe": options["recipe"], "settings": options["settings"]}
    runs = [
        run | same | {"model": Path(MODELS.get(run["task"], options["model"])).name}
        for run in common.wanted_runs(wanted, seeds)
    ]
    done = common.make_missing(output, runs, lambda run: one_run(run, options), lambda lines: INTRO + table(lines))
    click.echo(table(done))


if __name__ == "__main__":
    main()
