"""``pet predict``: classify texts."""

from __future__ import annotations

import sys
from typing import Any

import click

from pet.cli.options import (
    column_pairs,
    columns_option,
    exact_compute_options,
    quantize_option,
    quiet_option,
    reporter_for,
)

EXAMPLES = """\b
Examples:
  pet predict runs/agnews/student --input new.jsonl -o predictions.jsonl
  pet predict runs/agnews --input new.csv --column body=text -o predictions.csv
  pet predict OWNER/CLASSIFIER --input new.parquet -o - | head
"""


@click.command(epilog=EXAMPLES)
@click.argument("model", metavar="MODEL")
@click.option("--input", "source", required=True, metavar="F", help="Texts: JSONL, CSV, TSV, Parquet, or hub:NAME.")
@click.option(
    "-o", "--output", required=True, metavar="F", help="A .jsonl, .csv or .parquet file, or - for JSON lines."
)
@columns_option
@exact_compute_options
@quantize_option
@quiet_option
def predict(model: str, source: str, output: str, quiet: bool, **options: Any) -> None:
    """Classify texts with a saved classifier.

    MODEL is the `student` folder of a run, the run itself, or any sequence classifier of transformers,
    which then reads the field `text`. Each line of the output holds id, label, confidence, and the
    probability of every label. Input of any size is read piece by piece.
    """
    from pet.inference.predict_file import predict_file

    count = predict_file(
        model,
        source,
        sys.stdout if output == "-" else output,
        columns=column_pairs(options["columns"]),
        device=options["device"] or "auto",
        precision=options["precision"] or "fp32",
        allow_pickle=bool(options["allow_pickle"]),
        quantize=options["quantize"],
        reporter=reporter_for(quiet),
    )
    if output != "-":
        click.echo(f"{count} texts classified in {output}")
