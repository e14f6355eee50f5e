"""Startup time of ``pet --help`` and ``pet tasks``, compared with Python itself.

python benchmarks/startup.py
"""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import click
import common

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "pet --help": ["-m", "pet", "--help"],
    "pet tasks": ["-m", "pet", "tasks"],
}


def start(arguments: list[str]) -> None:
    """Run a Python command."""
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


@click.command()
@common.options
def main(rounds: int, output: Path, **_: Any) -> None:
    """Print each command's time as a multiple of Python's own startup time."""
    work = {name: partial(start, arguments) for name, arguments in COMMANDS.items()}
    seconds = common.alternate(work, time.perf_counter, rounds)
    bare = seconds["python -c pass"]
    ratios = {name: round(value / bare, 2) for name, value in seconds.items()}
    common.record(output, "startup", 1, "wall", {"seconds": seconds, "ratio": ratios})
    for name, value in seconds.items():
        click.echo(f"{name}: {1000 * value:.0f} ms, {ratios[name]:.1f} times Python's startup time")


if __name__ == "__main__":
    sys.exit(main())
