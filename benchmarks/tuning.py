"""All tuning methods, with 32 and 1,000 examples for instance: accuracy, sizes, memory and time.

    python benchmarks/tuning.py agnews:32 agnews:1000 --seeds 3

Reads the data sets and models in ../shared, which are not part of the project. Each run trains an ensemble without
unlabeled texts, in a process of its own, because memory is measured as the peak of the process. Each line of the output
file is one run; runs that are already in the file are skipped. The table is also written as Markdown next to the output
file.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import click
import common

METHODS = ("full", "lora", "bitfit", "prompt", "p-tuning", "prefix")
SOFT = "{soft:8} "  # prepended to every pattern for p-tuning
PEAKS = ("peak_memory_bytes", "peak_gpu_memory_bytes")
WEIGHTS = (".safetensors", ".json", ".txt")  # endings of the files that a member keeps
INTRO = """# Tuning methods

Produced by `python benchmarks/tuning.py`. Every run is a line of the JSON lines file next to this one. Accuracy in
percent on the first rows of the test set, mean and standard deviation over seeds. "Trained parameters" include the
network that p-tuning and prefix use during training only. "kB per member" is what a member keeps on disk. Memory is
that of the process, or of the GPU if there is one.

"""


def one_run(wanted: dict[str, Any]) -> dict[str, Any]:
    """Train an ensemble and evaluate it on the test set."""
    from pet.task.task import Task

    method, task = wanted["tuning"], Task.load(wanted["task"]).to_dict()
    if method == "p-tuning":
        task["patterns"] = [
            SOFT + p if isinstance(p, str) else {**p, "template": SOFT + p["template"]} for p in task["patterns"]
        ]
    settings = {
        "task": task,
        "unlabeled": None,
        "model": wanted["model"],
        "examples": wanted["examples"],
        "seed": wanted["seed"],
        "settings": {**wanted["settings"], "tuning": method},
    }
    with tempfile.TemporaryDirectory(prefix="pet-tuning-") as name:
        folder = Path(name)
        result, _ = common.run_in(folder, Path(wanted["data"]) / wanted["task"], wanted["test_rows"], settings)
        members = list(common.member_stages(folder / "run").values())
    return {key: wanted[key] for key in ("task", "examples", "tuning", "seed", "settings", "test_rows")} | {
        "model": Path(wanted["model"]).name,
        "accuracy": result["ensemble"]["accuracy"],
        "member_accuracy": [figures["accuracy"] for figures in result["members"].values()],
        "trained": max(stage["info"]["trained"] for stage in members),
        "member_bytes": max(
            sum(size for file, (size, _) in stage["outputs"].items() if file.endswith(WEIGHTS)) for stage in members
        ),
        "member_seconds": [stage["seconds"] for stage in members],
        "peak_bytes": {key: max(stage.get(key, 0) for stage in members) for key in PEAKS},
    }


def table(lines: list[dict[str, Any]]) -> str:
    """Format means over seeds as Markdown."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for line in lines:
        groups.setdefault((line["task"], line["examples"], line["model"], METHODS.index(line["tuning"])), []).append(
            line
        )
    head = ["task", "examples", "tuning", "ensemble", "one member", "trained parameters", "kB per member",
            "peak MB", "seconds per member", "seeds", "model"]  # fmt: skip
    rows = []
    for (name, examples, model, method), runs in sorted(groups.items()):
        singles = [accuracy for run in runs for accuracy in run["member_accuracy"]]
        seconds = [second for run in runs for second in run["member_seconds"]]
        peak = max(run["peak_bytes"][PEAKS[1]] or run["peak_bytes"][PEAKS[0]] for run in runs)
        cells = [
            name, examples, METHODS[method],
            common.spread([run["accuracy"] for run in runs]), f"{100 * sum(singles) / len(singles):.1f}",
            f"{max(run['trained'] for run in runs):,}", f"{max(run['member_bytes'] for run in runs) / 1000:,.0f}",
            f"{peak / 1e6:,.0f}", f"{sum(seconds) / len(seconds):.1f}", len(runs), model,
        ]  # fmt: skip
        rows.append(cells)
    return common.markdown(head, rows)


@click.command()
@common.run_options("tuning")
@click.option("--methods", default=",".join(METHODS), show_default=True, help="Tuning methods, separated by commas.")
@common.model_option
@common.data_option
@click.option("--test-rows", default=1000, show_default=True, help="Texts of the test set.")
@click.option("--one", hidden=True, help="Make one run, given as JSON.")
def main(
    wanted: tuple[str, ...], methods: str, seeds: int, changes: tuple[str, ...], one: str | None, output: Path,
    model: Path, data: Path, test_rows: int,
) -> None:  # fmt: skip
    """Make the runs that are missing and print the table."""
    if one is not None:
        click.echo(json.dumps(one_run(json.loads(one))))
        return
    same = {"settings": common.setting_pairs(changes), "test_rows": test_rows, "model": model.name}
    runs = [
        run | same | {"tuning": method} for run in common.wanted_runs(wanted, seeds) for method in methods.split(",")
    ]
    places = {"data": str(data), "model": str(model)}

    def make(run: dict[str, Any]) -> dict[str, Any]:
        return common.run_alone(__file__, "--one", run | places)

    done = common.make_missing(output, runs, make, lambda lines: INTRO + table(lines))
    click.echo(table(done))


if __name__ == "__main__":
    main()
