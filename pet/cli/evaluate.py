"""``pet evaluate``: measure a classifier."""

from __future__ import annotations

from typing import Any

import click

from pet.cli.options import (
    column_pairs,
    columns_option,
    echo_json,
    exact_compute_options,
    json_option,
    labeled_input_option,
    quantize_option,
    quiet_option,
    reporter_for,
)

EXAMPLES = """\b
Examples:
  pet evaluate runs/agnews --input test.jsonl
  pet evaluate runs/agnews/student --input test.csv --column label=topic --json
  pet evaluate OWNER/CLASSIFIER --input test.parquet --task my.yaml
"""


@click.command(epilog=EXAMPLES)
@click.argument("model", metavar="MODEL")
@labeled_input_option
@click.option("--task", metavar="T", help="A task whose label_map says what the labels of the data mean.")
@columns_option
@exact_compute_options
@quantize_option
@json_option
@quiet_option
def evaluate(model: str, source: str, task: str | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Measure a saved classifier on labeled texts.

    MODEL is the `student` folder of a run, the run itself, or any sequence classifier of transformers,
    which then reads the field `text`. The labels of the data must be those of the classifier.
    """
    from pet.inference.evaluate_file import evaluate_file
    from pet.report.tables import format_metrics
    from pet.run.load_run import load_task

    metrics = evaluate_file(
        model,
        source,
        columns=column_pairs(options["columns"]),
        label_map=load_task(task).label_map if task else None,
        device=options["device"] or "auto",
        precision=options["precision"] or "fp32",
        allow_pickle=bool(options["allow_pickle"]),
        quantize=options["quantize"],
        reporter=reporter_for(quiet),
    )
    if as_json:
        echo_json({"model": model, "input": source, **metrics})
    else:
        click.echo(format_metrics(metrics))
