"""Startup of the ``pet`` command: CPU seconds and peak memory of commands that have little to do.

    python benchmarks/startup.py

Mistakes must be found before torch is imported. `pet check` and `pet predict` run on the embedded model, with a
classifier that is trained for one step.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import common

TARGETS = {"pet check, 8 texts": 5.0, "pet predict, 1 text": 2.5}  # CPU seconds
ONE = {"id": "1", "headline": "The team won the cup", "body": "It was a close game."}


def commands(folder: Path) -> dict[str, tuple[list[str], int]]:
    """Write the inputs; return each command's arguments and its exit status."""
    sample = common.HERE.parent / "data" / "news" / "train.jsonl"
    train = folder / "train.jsonl"
    train.write_text("".join(sample.read_text(encoding="utf-8").splitlines(keepends=True)[:8]), encoding="utf-8")
    (folder / "one.jsonl").write_text(json.dumps(ONE) + "\n", encoding="utf-8")
    run, one, quick = str(folder / "run"), str(folder / "one.jsonl"), ["steps=1", "min_epochs=0", "student_steps=1"]
    settings = [word for setting in quick for word in ("--set", setting)]
    given = [
        "--train",
        str(train),
        "--unlabeled",
        str(sample.with_name("unlabeled.jsonl")),
        "--patterns",
        "1",
        *settings,
        "-q",
        "-o",
        run,
    ]
    pet(["run", "news", *given])
    return {
        "python -c pass": (["-c", "pass"], 0),
        "pet --help": (["-m", "pet", "--help"], 0),
        "pet tasks": (["-m", "pet", "tasks"], 0),
        "unknown task": (["-m", "pet", "run", "newz", "-o", "r"], 2),
        "missing file": (["-m", "pet", "run", "news", "--train", "none.csv", "-o", "r"], 2),
        "missing run": (["-m", "pet", "label", "none", "--input", one, "-o", "labels.csv"], 2),
        "pet check, 8 texts": (["-m", "pet", "check", "news", "--train", str(train), "-q"], 0),
        "pet predict, 1 text": (["-m", "pet", "predict", run, "--input", one, "-o", "-", "-q"], 0),
    }


def pet(arguments: list[str]) -> None:
    """Run a ``pet`` command."""
    subprocess.run([sys.executable, "-m", "pet", *arguments], check=True, stdout=subprocess.DEVNULL)


def measure(arguments: list[str], status: int) -> tuple[float, float]:
    """Run a Python command; return its CPU seconds and its peak memory in MB."""
    command = [sys.executable, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, found, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(found)
    if process.returncode != status:
        raise click.ClickException(f"{' '.join(arguments)} ended with exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


@click.command()
@common.options
def main(rounds: int, output: Path, **_: Any) -> None:
    """Print each command's CPU seconds and peak memory, and the targets."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="pet-startup-") as name:
        work = commands(Path(name))
        found: dict[str, list[tuple[float, float]]] = {label: [] for label in work}
        for _round in range(rounds):  # in turn, so that other work on the machine affects all of them
            for label, (arguments, status) in work.items():
                found[label].append(measure(arguments, status))
    seconds = {label: round(statistics.median(s for s, _ in values), 2) for label, values in found.items()}
    memory = {label: round(statistics.median(m for _, m in values)) for label, values in found.items()}
    common.record(output, "startup", 1, "cpu", {"seconds": seconds, "memory_mb": memory})
    for label, value in seconds.items():
        target = "" if label not in TARGETS else f", target {TARGETS[label]} s"
        click.echo(f"{label}: {value:.2f} CPU s{target}, {memory[label]} MB")


if __name__ == "__main__":
    main()
