"""Updates of a member while other programs compute: seconds with each way in which threads can wait for each other.

    python benchmarks/busy.py
    python benchmarks/busy.py --updates 12 --rounds 3

Every figure is a process of its own, which trains a member of the first pattern of agnews. Its first updates are not
timed. Others take a core each and do nothing but count. They run for a while first, so that the load that a run looks
at when it starts is theirs. "pet" is what the command chooses; the other rows set what it would choose from. The ways
take turns, and each figure is the median of the rounds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import click
import common

PET = "pet"
# What each way adds to the environment; PET chooses for itself.
WAYS: dict[str, dict[str, str]] = {
    PET: {},
    "torch's own": {},
    "a bounded spin": {"GOMP_SPINCOUNT": "1000"},
    "no spin": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
LEFT_OUT = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "MKL_NUM_THREADS")
WARM = 3  # updates that are not timed
SETTLE = 60  # seconds until the load, a mean over a minute, shows most of the others
TARGET = 1.3  # times the best way
COUNT = "while True: pass"


@contextmanager
def others(number: int) -> Iterator[None]:
    """Keep this many cores busy."""
    running = [subprocess.Popen([sys.executable, "-c", COUNT]) for _ in range(number)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def timed(way: str, model: Path, data: Path, updates: int) -> float:
    """Return the seconds that the updates take in a process of its own."""
    own = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    command = [sys.executable, __file__, "--train", way, "--model", str(model), "--data", str(data)]
    command += ["--updates", str(updates)]
    done = subprocess.run(command, env=own | WAYS[way], check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout))


def train(way: str, model: Path, data: Path, updates: int) -> float:
    """Train a member in this process; return the seconds of the updates after the first ones."""
    from pet.library_defaults import bound_caches, bound_spinning, bound_threads

    bound_caches()
    if way == PET:
        bound_spinning()
        bound_threads()
    import numpy as np

    from pet.members.training import ClozeData, train_member
    from pet.recipe import make_recipe
    from pet.task.task import Task
    from pet.training.device import make_accelerator

    recipe = make_recipe("default", {"steps": WARM + updates})
    first = common.FirstPattern(Task.load("agnews"), model, recipe)
    rows = common.read_rows(data, "agnews", "train", 32, first.task.fields)
    labels = [[str(label) for label in first.task.labels].index(str(row["label"])) for row in rows]
    learned = ClozeData(first.tokenize(first.table(rows)), np.asarray(labels), None)
    ends: list[float] = []
    accelerator = make_accelerator("cpu", "auto")
    train_member(first.open(), first.pvp, learned, recipe, 0, accelerator, lambda *_: ends.append(time.monotonic()))
    return ends[-1] - ends[WARM - 1]


def table(found: dict[str, dict[str, float]]) -> str:
    """Format the seconds of each way, and of what the command chooses as a multiple of the best."""
    heads = ["", *found]
    rows = [[way, *(f"{column[way]:.1f}" for column in found.values())] for way in WAYS]
    most = [f"{column[PET] / min(column.values()):.2f}" for column in found.values()]
    return common.markdown(heads, [*rows, [f"{PET}, times the best (target {TARGET})", *most]])


@click.command()
@click.option("--updates", default=20, show_default=True, help="Updates that are timed.")
@click.option("--busy", default="0,1,3", show_default=True, help="Numbers of other programs.")
@click.option("--train", "way", hidden=True)
@common.model_option
@common.data_option
@click.option("--rounds", default=3, show_default=True, help="Report the median over this many rounds.")
@common.output_option(common.SPEED)
def main(updates: int, busy: str, way: str | None, model: Path, data: Path, rounds: int, output: Path) -> None:
    """Print the table."""
    if way:
        click.echo(json.dumps(train(way, model, data, updates)))
        return
    found: dict[str, dict[str, float]] = {}
    for number in map(int, busy.split(",")):
        with others(number):
            time.sleep(SETTLE)
            turns = [{name: timed(name, model, data, updates) for name in WAYS} for _ in range(rounds)]
        found[f"{number} others"] = {name: round(median(turn[name] for turn in turns), 2) for name in WAYS}
        click.echo(f"{number} others: {found[f'{number} others']}", err=True)
    common.record(output, "busy", os.cpu_count() or 1, "wall", {"updates": updates, "seconds": found})
    click.echo(table(found))


if __name__ == "__main__":
    main()
