"""One worker against two, with the same threads each: how much sooner the same ensemble is there.

    python benchmarks/scaling.py agnews
    python benchmarks/scaling.py agnews --executors ray

Each run is a process of its own. Its time begins when everything is imported; the start of workers, and of Ray, is
in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import common
from accuracy import first_rows


def one_run(wanted: dict[str, Any]) -> dict[str, float]:
    """Train and measure an ensemble; seconds of the whole, and of all its stages together."""
    import torch

    from pet.progress import Reporter
    from pet.run.execution.executor import Execution
    from pet.run.pipeline import run
    from pet.run.settings import RunSettings
    from pet.store.manifest import read_stages
    from pet.task.task import Task

    torch.set_num_threads(wanted["threads"])
    data = Path(wanted["data"]) / wanted["task"]
    with tempfile.TemporaryDirectory(prefix="pet-scaling-") as name:
        folder = Path(name)
        settings = RunSettings(
            task=Task.load(wanted["task"]).to_dict(),
            train=str(data / "train.jsonl"),
            unlabeled=None,
            test=str(first_rows(data / "test.jsonl", wanted["test_rows"], folder / "test.jsonl")),
            model=wanted["model"],
            examples=32,
            settings=wanted["settings"],
            device="cpu",
        )
        execution = Execution(wanted["executor"], workers=wanted["workers"], worker_cpus=wanted["threads"])
        begun = time.perf_counter()
        run(settings, folder / "run", Reporter("quiet"), execution=execution)
        seconds = time.perf_counter() - begun
        stages = read_stages(folder / "run")
    members = {name: stage["seconds"] for name, stage in stages.items() if name.startswith("g0/p")}
    return {"seconds": seconds, "stages": sum(members.values()), "members": len(members) / 2}


def in_a_process(wanted: dict[str, Any]) -> dict[str, float]:
    """`one_run` in a process with so many threads."""
    command = [sys.executable, __file__, "--one", json.dumps(wanted)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(wanted["threads"])}
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    figures: dict[str, float] = json.loads(found.splitlines()[-1])
    return figures


@click.command()
@click.argument("name", default="agnews")
@click.option("--executors", default="local,ray", show_default=True)
@click.option("--test-rows", default=400, show_default=True)
@click.option("--set", "changes", multiple=True, default=("steps=20", "repetitions=1"), show_default=True)
@click.option("--one", hidden=True, help="One run, as JSON: what the others are started with.")
@common.options
def main(
    name: str, executors: str, test_rows: int, changes: tuple[str, ...], one: str | None, model: Path, data: Path,
    threads: int, clock: str, rounds: int, output: Path,
) -> None:  # fmt: skip
    """Print the ratio of the times."""
    if one is not None:
        click.echo(json.dumps(one_run(json.loads(one))))
        return
    same = {"task": name, "test_rows": test_rows, "settings": dict(change.split("=", 1) for change in changes)}
    same |= {"model": str(model), "data": str(data), "threads": threads}
    for executor in executors.split(","):
        tries: dict[int, list[dict[str, float]]] = {1: [], 2: []}
        for _ in range(rounds):  # in turn: other work on the machine meets both
            for workers, found in tries.items():
                found.append(in_a_process(same | {"executor": executor, "workers": workers}))
        best = {workers: min(found, key=lambda figures: figures["seconds"]) for workers, found in tries.items()}
        figures = {
            **{key: same[key] for key in ("task", "test_rows", "settings")},
            "model": model.name,
            "executor": executor,
            "members": int(best[1]["members"]),
            "rounds": rounds,
            "seconds": {workers: round(found["seconds"], 1) for workers, found in best.items()},
            "stage_seconds": {workers: round(found["stages"], 1) for workers, found in best.items()},
            "ratio": round(best[1]["seconds"] / best[2]["seconds"], 2),
        }
        common.record(output, "scaling", threads, "wall", figures)
        click.echo(
            f"{executor}: {figures['members']} members in {best[1]['seconds']:.0f} s with one worker, in "
            f"{best[2]['seconds']:.0f} s with two, {threads} thread(s) each: {figures['ratio']:.2f} times as fast"
        )


if __name__ == "__main__":
    main()
