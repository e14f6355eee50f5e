"""``pet evaluate``: evaluate a saved classifier."""

from __future__ import annotations

from typing import Any

import click

from pet.cli.early import check_classifier_input
from pet.cli.echo import echo, echo_json
from pet.cli.help import Command
from pet.cli.options import (
    compute_options_of,
    exact_compute_options,
    json_option,
    labeled_input_option,
    quantize_option,
    quiet_option,
    reporter_for,
    table_options,
    table_options_of,
)

EXAMPLES = """\b
Examples:
  pet evaluate runs/agnews --input test.jsonl
  pet evaluate runs/agnews/student --input test.csv --column label=topic --json
  pet evaluate OWNER/CLASSIFIER --input test.parquet --task my.yaml
"""


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("model", metavar="MODEL")
@labeled_input_option
@click.option("--task", metavar="T", help="A task whose columns, label_map and groups describe the data.")
@click.option(
    "--none-of-these",
    type=float,
    metavar="X",
    help="Also say what `pet predict --none-of-these X` would keep and leave out, and how accurate both are.",
)
@table_options
@exact_compute_options
@quantize_option
@json_option
@quiet_option
def evaluate(model: str, source: str, task: str | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Evaluate a saved classifier on labeled texts.

    MODEL is the `student` folder of a run, the run itself, or any sequence classifier of transformers,
    which reads the field `text`. The data must have the labels of the classifier.
    """
    from pet.run.load_run import load_task

    named, table = load_task(task) if task else None, table_options_of(options)
    check_classifier_input(model, source, table, named)
    from pet.inference.evaluate_file import evaluate_file
    from pet.report.tables import format_metrics

    metrics = evaluate_file(
        model,
        source,
        task=named,
        none_of_these=options["none_of_these"],
        table=table,
        compute=compute_options_of(options),
        reporter=reporter_for(quiet),
    )
    if as_json:
        echo_json({"model": model, "input": source, **metrics})
    else:
        echo(format_metrics(metrics))
