"""Speedup of two workers over one worker, with the same number of threads per worker, on the same ensemble.

    python benchmarks/scaling.py agnews
    python benchmarks/scaling.py agnews --executors ray

Each run is a process of its own. Its time starts when everything is imported and includes the start of the workers and
of Ray. The ratio is also printed without what passes until the first member starts.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import common


def one_run(wanted: dict[str, Any]) -> dict[str, float]:
    """Train and evaluate an ensemble; measure the seconds of the run, until its first member, and of all members."""
    import torch

    from pet.progress import Reporter
    from pet.run.execution.options import Execution
    from pet.store.manifest import read_stages
    from pet.task.task import Task

    torch.set_num_threads(wanted["threads"])
    settings = {
        "task": Task.load(wanted["task"]).to_dict(),
        "unlabeled": None,
        "model": wanted["model"],
        "examples": 32,
        "settings": wanted["settings"],
        "device": "cpu",
    }
    execution = Execution(wanted["executor"], workers=wanted["workers"], worker_cpus=wanted["threads"])
    with tempfile.TemporaryDirectory(prefix="pet-scaling-") as name:
        folder, begun = Path(name), time.time()
        _, seconds = common.run_in(
            folder, Path(wanted["data"]) / wanted["task"], wanted["test_rows"], settings,
            execution=execution, reporter=Reporter("quiet"),
        )  # fmt: skip
        members, stages = common.member_stages(folder / "run"), read_stages(folder / "run")
        # The last file of a stage is written when it ends.
        first = min((folder / "run" / name).stat().st_mtime - stages[name]["seconds"] for name in members)
    # A member has two stages: its training and its scores.
    total = sum(stages[stage]["seconds"] for name in members for stage in (name, f"{name}/scores"))
    return {"seconds": seconds, "start": first - begun, "stages": total, "members": len(members)}


@click.command()
@click.argument("name", default="agnews", metavar="TASK")
@click.option("--executors", default="local,ray", show_default=True, help="Executors, separated by commas.")
@click.option("--test-rows", default=400, show_default=True, help="Texts of the test set.")
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", default=("steps=20", "repetitions=1"), show_default=True,
    help="Change a setting.",
)  # fmt: skip
@click.option("--one", hidden=True, help="Make one run, given as JSON.")
@common.options
def main(
    name: str, executors: str, test_rows: int, changes: tuple[str, ...], one: str | None, model: Path, data: Path,
    threads: int, clock: str, rounds: int, output: Path,
) -> None:  # fmt: skip
    """Print the ratio of the times."""
    if one is not None:
        click.echo(json.dumps(one_run(json.loads(one))))
        return
    same = {"task": name, "test_rows": test_rows, "settings": common.setting_pairs(changes)}
    same |= {"model": str(model), "data": str(data), "threads": threads}
    for executor in executors.split(","):
        tries: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
        for _ in range(rounds):  # in turn, so that other work on the machine affects both
            for workers, found in tries.items():
                wanted = same | {"executor": executor, "workers": workers}
                found.append(common.run_alone(__file__, "--one", wanted, threads))
        best = {workers: min(found, key=lambda figures: figures["seconds"]) for workers, found in tries.items()}
        members, ratio = int(best[1]["members"]), best[1]["seconds"] / best[2]["seconds"]
        apart = {workers: found["seconds"] - found["start"] for workers, found in best.items()}
        figures = {
            **{key: same[key] for key in ("task", "test_rows", "settings")},
            "model": model.name,
            "executor": executor,
            "members": members,
            "rounds": rounds,
            "seconds": {workers: round(found["seconds"], 1) for workers, found in best.items()},
            "start_seconds": {workers: round(found["start"], 1) for workers, found in best.items()},
            "stage_seconds": {workers: round(found["stages"], 1) for workers, found in best.items()},
            "ratio": round(ratio, 2),
            "ratio_without_start": round(apart[1] / apart[2], 2),
        }
        common.record(output, "scaling", threads, "wall", figures)
        click.echo(
            f"{executor}: {members} members in {best[1]['seconds']:.0f} s with one worker, in "
            f"{best[2]['seconds']:.0f} s with two, {threads} thread(s) each: {ratio:.2f} times as fast; without the "
            f"start ({best[1]['start']:.0f} s and {best[2]['start']:.0f} s) {apart[1] / apart[2]:.2f} times"
        )


if __name__ == "__main__":
    main()
