"""Every way of tuning the members, at 32 and at 1,000 examples: accuracy, sizes, memory and time.

    python benchmarks/tuning.py agnews:32 agnews:1000 --seeds 3

Reads ../shared (data sets and models that are not part of the project). Each run trains an ensemble without
unlabeled text, in a process of its own, since memory is its peak. A line of the output file is one run; lines
that are there already are not run again. At the end the table is written as Markdown beside it.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import click
from accuracy import first_rows
from common import HERE, make_missing, markdown, run_alone, spread, wanted_runs

METHODS = ("full", "lora", "bitfit", "prompt", "p-tuning", "prefix")
SOFT = "{soft:8} "  # what p-tuning finds in front of every pattern


def one_run(wanted: dict[str, Any]) -> dict[str, Any]:
    """Train an ensemble and measure it on the test set."""
    from pet.progress import Reporter
    from pet.run.pipeline import run
    from pet.run.settings import RunSettings
    from pet.store.manifest import read_stages
    from pet.task.task import Task

    data, method = Path(wanted["data"]) / wanted["task"], wanted["tuning"]
    task = Task.load(wanted["task"]).to_dict()
    if method == "p-tuning":
        task["patterns"] = [
            SOFT + p if isinstance(p, str) else {**p, "template": SOFT + p["template"]} for p in task["patterns"]
        ]
    with tempfile.TemporaryDirectory(prefix="pet-tuning-") as name:
        folder = Path(name)
        settings = RunSettings(
            task=task,
            train=str(data / "train.jsonl"),
            unlabeled=None,
            test=str(first_rows(data / "test.jsonl", wanted["test_rows"], folder / "test.jsonl")),
            model=wanted["model"],
            examples=wanted["examples"],
            seed=wanted["seed"],
            settings={**wanted["settings"], "tuning": method},
        )
        result = run(settings, folder / "run", Reporter("plain"))
        members = {
            name: stage for name, stage in read_stages(folder / "run").items() if "trained" in (stage["info"] or {})
        }
    weights = (".safetensors", ".json", ".txt")
    return {key: wanted[key] for key in ("task", "examples", "tuning", "seed", "settings", "test_rows")} | {
        "model": Path(wanted["model"]).name,
        "accuracy": result["ensemble"]["accuracy"],
        "member_accuracy": [figures["accuracy"] for figures in result["members"].values()],
        "trained": max(stage["info"]["trained"] for stage in members.values()),
        "member_bytes": max(
            sum(size for file, (size, _) in stage["outputs"].items() if file.endswith(weights))
            for stage in members.values()
        ),
        "member_seconds": [stage["seconds"] for stage in members.values()],
        "peak_bytes": {key: max(stage.get(key, 0) for stage in members.values()) for key in PEAKS},
    }


PEAKS = ("peak_memory_bytes", "peak_gpu_memory_bytes")


def table(lines: list[dict[str, Any]]) -> str:
    """Means over seeds, as Markdown."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for line in lines:
        groups.setdefault((line["task"], line["examples"], line["model"], METHODS.index(line["tuning"])), []).append(
            line
        )
    head = ["task", "examples", "tuning", "ensemble", "one member", "trained numbers", "kB a member", "peak MB",
            "seconds a member", "seeds", "model"]  # fmt: skip
    rows = []
    for (name, examples, model, method), runs in sorted(groups.items()):
        singles = [accuracy for run in runs for accuracy in run["member_accuracy"]]
        seconds = [second for run in runs for second in run["member_seconds"]]
        peak = max(run["peak_bytes"][PEAKS[1]] or run["peak_bytes"][PEAKS[0]] for run in runs)
        cells = [
            name, examples, METHODS[method],
            spread([run["accuracy"] for run in runs]), f"{100 * sum(singles) / len(singles):.1f}",
            f"{max(run['trained'] for run in runs):,}", f"{max(run['member_bytes'] for run in runs) / 1000:,.0f}",
            f"{peak / 1e6:,.0f}", f"{sum(seconds) / len(seconds):.1f}", len(runs), model,
        ]  # fmt: skip
        rows.append(cells)
    return markdown(head, rows)


INTRO = """# Ways of tuning the members

Made by `python benchmarks/tuning.py`; every run is a line of the file beside this one. Accuracy in per cent on the
first rows of the test set, mean and standard deviation over seeds. "Trained numbers" count the network that
p-tuning and prefix have in training only; "kB a member" is all that is kept of one; memory is that of the process, or
of the GPU where there is one.

"""


@click.command()
@click.argument("wanted", nargs=-1, metavar="TASK:EXAMPLES...")
@click.option("--methods", default=",".join(METHODS), show_default=True)
@click.option("--seeds", default=3, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), default=Path("../shared/data"), show_default=True)
@click.option("--model", default="../shared/models/minilm-mlm-en", show_default=True)
@click.option("--test-rows", default=1000, show_default=True)
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE")
@click.option("--one", hidden=True, help="One run, as JSON: what the others are started with.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=HERE / "results" / "tuning.jsonl")
def main(
    wanted: tuple[str, ...],
    methods: str,
    seeds: int,
    changes: tuple[str, ...],
    one: str | None,
    output: Path,
    **options: Any,
) -> None:
    """Run what is not there yet and print the table."""
    if one is not None:
        click.echo(json.dumps(one_run(json.loads(one))))
        return
    settings = dict(change.split("=", 1) for change in changes)
    same = {"settings": settings, "test_rows": options["test_rows"], "model": Path(options["model"]).name}
    runs = [run | same | {"tuning": method} for run in wanted_runs(wanted, seeds) for method in methods.split(",")]
    places = {"data": str(options["data"]), "model": options["model"]}

    def make(run: dict[str, Any]) -> dict[str, Any]:
        return run_alone(__file__, "--one", run | places)

    done = make_missing(output, runs, make, lambda lines: INTRO + table(lines))
    click.echo(table(done))


if __name__ == "__main__":
    main()
