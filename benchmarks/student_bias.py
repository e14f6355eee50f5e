"""What shifting the scores of a student brings, on labeled texts that its run did not draw.

    pet run sst2 -m MODEL --train ../shared/data/sst2/train.jsonl --unlabeled ../shared/data/sst2/unlabeled.jsonl \
        --examples 32 --pool-size 600 --set student_fit_bias=false -o runs/sst2-0
    python benchmarks/student_bias.py runs/sst2-0 runs/yelp-0 ...

Trains nothing. Each run has a student without the shift, and labeled texts in its file that it did not draw; at most
800 of them measure. As after training, 256 texts of the pool and their soft labels give the shift. "Misplaced" is
how much of the student's mean probabilities is on other labels than those of the soft labels; a run shifts the scores
only if that is above 3%.
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean, stdev

import click
import numpy as np

from pet.data.checks import column_labels, rows_without, text_keys
from pet.data.label_sets import labels_of
from pet.data.pick import pick_rows
from pet.data.read import read_table
from pet.ensemble.soft_labels import read_probabilities
from pet.progress import Reporter
from pet.report.tables import text_table
from pet.run.inputs import load_data
from pet.run.load_run import read_settings
from pet.student.bias import CLEAR, fitting_bias, misplaced
from pet.student.classifier import load_classifier
from pet.task.task import Task
from pet.training.device import make_accelerator

WATCHED, MOST = 256, 800  # texts of the pool, and labeled texts that measure


def figures(run: Path) -> dict[str, float]:
    """Return how much of a student's probability is misplaced, and its accuracy as it is and shifted, in percent."""
    settings = read_settings(run)
    task, generator = Task.from_dict(settings.task), np.random.default_rng(0)
    data = load_data(settings, task, Reporter("quiet"))
    assert data.train is not None and data.pool is not None and settings.train is not None
    columns = {**task.columns, **settings.columns}
    labeled = read_table(
        settings.train, task.fields, labels=labels_of(task), label_map=task.label_map, columns=columns, name="train"
    )
    rest = rows_without(text_keys(labeled, task.fields), text_keys(data.train, task.fields))
    rest = np.sort(generator.permutation(rest)[:MOST])
    watched = np.sort(generator.permutation(len(data.pool))[:WATCHED])
    student, accelerator = load_classifier(str(run / "student")), make_accelerator("cpu", "fp32")
    soft = np.asarray(read_probabilities(run / "g0" / "labels.parquet"), dtype=np.float64)[watched]
    seen = student.scores(pick_rows(data.pool, watched), accelerator)
    scores, gold = student.scores(pick_rows(labeled, rest), accelerator), column_labels(labeled)[rest]
    shifted = scores + fitting_bias(seen, soft)
    return {
        "misplaced": 100 * misplaced(seen, soft),
        "accuracy": 100 * float((scores.argmax(axis=1) == gold).mean()),
        "shifted": 100 * float((shifted.argmax(axis=1) == gold).mean()),
    }


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
def main(runs: tuple[Path, ...]) -> None:
    """Print a line for each run, and the mean differences."""
    rows, gains, clear = [], [], []
    for run in runs:
        found = figures(run)
        gains.append(found["shifted"] - found["accuracy"])
        clear += [gains[-1]] if found["misplaced"] > 100 * CLEAR else []
        rows.append([run.name, *(f"{value:.1f}" for value in (*found.values(), gains[-1]))])
    click.echo(text_table(rows, ["run", "misplaced", "accuracy", "shifted", "difference"]))
    for name, chosen in (("all", gains), (f"those above {CLEAR:.0%}", clear)):
        if len(chosen) > 1:
            error = stdev(chosen) / len(chosen) ** 0.5
            click.echo(f"mean difference, {name}: {fmean(chosen):+.2f} ± {error:.2f} points")


if __name__ == "__main__":
    main()
