"""Texts with several labels: patterns with words, patterns that ask about each label, and iPET, beside regression.

    python benchmarks/multi_label.py --threads 1

The sample `tickets-multi`: 40 labeled texts, 80 unlabeled ones, 80 for the test. Each line is one run; its baseline is
one-vs-rest logistic regression on mean-pooled vectors of the same model. Lines that exist are not made again.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import common

DATA = common.HERE.parent / "data" / "tickets-multi"
WORDS = ["{text} This is about {mask}.", "[ Category: {mask} ] {text}"]
ASKS = ["{text} Is this about {label}? {mask}.", "{label|upper_first}: {mask}. {text}"]
RUNS: dict[str, dict[str, Any]] = {
    "words": {"patterns": WORDS},
    "{label}": {"patterns": ASKS},
    "words and {label}": {"patterns": [WORDS[0], ASKS[0]]},
    "words, iPET": {"patterns": WORDS, "method": "ipet"},
}
METRICS = {"micro_f1": "micro F1", "macro_f1": "macro F1", "lrap": "ranking precision", "exact_match": "exact match"}
INTRO = """# Texts with several labels

Produced by `python benchmarks/multi_label.py`: the sample `tickets-multi`, {model}, two patterns with one member each,
{length} tokens, {steps} updates of a member, 80 test texts, {seeds} seed(s). "words" are patterns with words for the
labels, "{{label}}" are patterns that ask about each label by itself.

"""


def measure(wanted: Mapping[str, Any], shared: Path) -> dict[str, Any]:
    """Run one variant and return its figures."""
    from pet.run.pipeline import run
    from pet.run.settings import RunSettings
    from pet.task.task import Task

    begun, kind = time.process_time(), RUNS[wanted["run"]]
    model = shared / "models" / wanted["model"]
    with tempfile.TemporaryDirectory(prefix="pet-multi-") as place:
        settings = RunSettings(
            task=Task.load("tickets-multi").to_dict() | {"patterns": kind["patterns"]},
            train=str(DATA / "train.jsonl"), unlabeled=str(DATA / "unlabeled.jsonl"), test=str(DATA / "test.jsonl"),
            model=str(model) if model.is_dir() else wanted["model"], method=kind.get("method", "pet"),
            settings={"repetitions": "1", "max_length": wanted["length"], "steps": wanted["steps"]},
            seed=wanted["seed"], device="cpu",
        )  # fmt: skip
        results = run(settings, Path(place) / "run")
    found = {"regression": results["baselines"]["embeddings"]["ensemble"]}
    found |= {name: results[name] for name in ("ensemble", "student")}
    figures = {name: {metric: each[metric] for metric in METRICS} for name, each in found.items()}
    history = [
        {key: entry.get(key) for key in ("generation", "accepted", "reason")}
        for entry in results.get("generations") or ()
    ]
    return {**wanted, "found": figures, "generations": history, "cpu": round(time.process_time() - begun)}


def page(lines: list[Any]) -> str:
    """Return the results as a Markdown page."""
    if not lines:
        return ""
    rows: list[list[str]] = []
    for name in dict.fromkeys(line["run"] for line in lines):
        mine = [line["found"] for line in lines if line["run"] == name]
        for result in ("regression", "ensemble", "student"):
            if result == "regression" and rows:
                continue  # the same in all runs
            shown = "one-vs-rest regression on embeddings" if result == "regression" else f"{name}: {result}"
            cells = [sum(found[result][metric] for found in mine) / len(mine) for metric in METRICS]
            rows.append([shown, *(f"{value:.3f}" for value in cells)])
    seeds = len({line["seed"] for line in lines})
    same = {"model": lines[0]["model"], "length": lines[0]["length"], "steps": lines[0]["steps"]}
    return INTRO.format(**same, seeds=seeds) + common.markdown(["", *METRICS.values()], rows)


@click.command()
@click.option("--seeds", default=1, show_default=True, help="Number of seeds.")
@click.option("--only", multiple=True, type=click.Choice(list(RUNS)), help="Only this kind of run. Repeatable.")
@click.option("--steps", default="40", show_default=True, help="Updates of a member.")
@click.option("--max-length", "length", default="64", show_default=True, help="Longest input in tokens.")
@click.option("--model", default="minilm-mlm-en", show_default=True, help="Model in ../shared/models, or any other.")
@common.output_option(common.HERE / "results" / "multi_label.jsonl")
@common.shared_option
@common.threads_option
def main(
    seeds: int, only: tuple[str, ...], steps: str, length: str, model: str, output: Path, shared: Path, threads: int
) -> None:
    """Make the runs that are missing and print the table."""
    import torch

    torch.set_num_threads(threads)
    same = {"model": model, "steps": steps, "length": length}
    runs = [{"run": name, "seed": seed, **same} for seed in range(seeds) for name in only or RUNS]
    click.echo(page(common.make_missing(output, runs, lambda wanted: measure(wanted, shared), page)))


if __name__ == "__main__":
    main()
