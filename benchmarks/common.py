"""What the programs here share: texts, clocks, runs that are not made twice, and the line that each leaves."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

import click

import pet

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared"
Clock = Callable[[], float]
Work = Callable[[], object]
# Processor time counts all threads together: for machines that have other work, with one thread.
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}


def options(command: Any) -> Any:
    """The options of every program here."""
    for option in (
        click.option("--model", type=click.Path(path_type=Path), default=SHARED / "models" / "minilm-mlm-en"),
        click.option("--data", type=click.Path(path_type=Path), default=SHARED / "data", help="folder of data sets"),
        click.option("--threads", default=os.cpu_count() or 1, show_default=True),
        click.option("--clock", type=click.Choice(list(CLOCKS)), default="wall", show_default=True),
        click.option("--rounds", default=5, show_default=True, help="the median of so many counts"),
        click.option("-o", "--output", type=click.Path(path_type=Path), default=HERE / "results" / "speed.jsonl"),
    ):
        command = option(command)
    return command


def alternate(
    work: Mapping[str, Work], clock: Clock, rounds: int, *, repeat: int = 1, warmup: int = 1
) -> dict[str, float]:
    """Median seconds of each piece of work; they take turns, so that a slow minute is everybody's."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for number in range(warmup + rounds):
        for name, do in work.items():
            begun = clock()
            for _ in range(repeat):
                do()
            if number >= warmup:
                seconds[name].append((clock() - begun) / repeat)
    return {name: statistics.median(values) for name, values in seconds.items()}


def model_config(model: Path) -> Any:
    import transformers

    return transformers.AutoConfig.from_pretrained(model)


def dtypes() -> list[Any]:
    """float32, and bfloat16 where this processor multiplies in it."""
    import torch

    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    has_bf16 = any(getattr(torch.cpu, name, lambda: False)() for name in names)
    return [torch.float32, *([torch.bfloat16] if has_bf16 else [])]


def computed_in(accelerator: Any) -> Any:
    """The type in which an accelerator multiplies."""
    import torch

    return torch.bfloat16 if accelerator.mixed_precision == "bf16" else torch.float32


def read_rows(data: Path, name: str, part: str, count: int, fields: tuple[str, ...]) -> list[dict[str, Any]]:
    """The first rows of a data set: the fields as text, and the label where there is one."""
    with (data / name / f"{part}.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in islice(lines, count)]
    return [{**{f: str(row[f]) for f in fields}, "label": row.get("label")} for row in rows]


def processor() -> str:
    """The processor's name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def machine() -> dict[str, Any]:
    """Where a program runs; others' work beside it makes wall times longer."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": [round(x, 1) for x in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
    }


def now() -> str:
    """The moment, for a line."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def append(output: Path, line: Mapping[str, Any]) -> None:
    """One more JSON line."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def wanted_runs(wanted: Sequence[str], seeds: int) -> Iterator[dict[str, Any]]:
    """``TASK:EXAMPLES`` texts as runs, the first seed of all of them first."""
    for seed in range(seeds):
        for item in wanted:
            name, _, examples = item.partition(":")
            yield {"task": name, "examples": int(examples), "seed": seed}


def make_missing(
    output: Path,
    runs: Iterable[Mapping[str, Any]],
    make: Callable[[Any], Mapping[str, Any]],
    page: Callable[[list[Any]], str],
) -> list[Any]:
    """Make each run of which the output file has no line yet, and write the page anew after each.

    A line is a run's when it has all that the run has, with the same values.
    """
    done = [json.loads(line) for line in output.read_text().splitlines()] if output.exists() else []
    for run in runs:
        if not any(all(line.get(key) == value for key, value in run.items()) for line in done):
            done.append(make(run))
            append(output, done[-1])
            output.with_suffix(".md").write_text(page(done))
    output.with_suffix(".md").write_text(page(done))  # also where only the page has changed
    return done


def spread(shares: Sequence[float]) -> str:
    """Mean and standard deviation, in per cent."""
    deviation = f" ± {100 * statistics.stdev(shares):.1f}" if len(shares) > 1 else ""
    return f"{100 * statistics.fmean(shares):.1f}{deviation}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as Markdown."""
    lines = ["| " + " | ".join(map(str, cells)) + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]]) + "\n"


def run_alone(program: str, option: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What a program prints of one run, as JSON, in a process of its own, whose peak of memory is the run's."""
    command = [sys.executable, program, option, json.dumps(wanted)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    line: dict[str, Any] = json.loads(found.splitlines()[-1])
    return line


def record(output: Path, program: str, threads: int, clock: str, figures: Mapping[str, Any]) -> None:
    """Append one line: what was measured, when, where and with which versions."""
    packages = {name: metadata.version(name) for name in ("torch", "transformers", "tokenizers", "numpy")}
    line = {
        "program": program,
        "date": now(),
        **figures,
        "machine": machine(),
        "threads": threads,
        "clock": clock,
        "versions": {"python": platform.python_version(), "pet": pet.__version__, **packages},
    }
    append(output, line)
