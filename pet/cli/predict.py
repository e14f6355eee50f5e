"""``pet predict``: classify texts with a saved classifier."""

from __future__ import annotations

import sys
from typing import Any

import click

from pet.cli.early import check_classifier_input
from pet.cli.echo import echo, echo_json
from pet.cli.help import Command
from pet.cli.options import (
    as_is_option,
    compute_options_of,
    exact_compute_options,
    force_option,
    input_option,
    json_option,
    keep_option,
    quantize_option,
    quiet_option,
    reporter_for,
    runtime_option,
    table_options,
    table_options_of,
)
from pet.data.source_names import file_of
from pet.errors import PetError
from pet.terminal import counted

EXAMPLES = """\b
Examples:
  pet predict runs/agnews/student --input new.jsonl -o predictions.jsonl
  pet predict runs/agnews --input new.csv --column body=text --keep url -o predictions.csv
  pet predict runs/agnews --input new.jsonl -o predictions.jsonl --none-of-these 0.05
  pet predict OWNER/CLASSIFIER --input new.parquet -o - | head
"""


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("model", metavar="MODEL")
@input_option
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="F",
    help="Predictions: .jsonl, .csv, .tsv or .parquet; - prints JSON lines.",
)
@click.option(
    "--none-of-these",
    type=float,
    metavar="X",
    help="Leave out texts that fit no label: those that fit worse than all but a share X of the run's labeled texts, "
    "such as 0.05. Adds the column `fit`.",
)
@table_options
@keep_option
@as_is_option
@force_option
@exact_compute_options
@quantize_option
@runtime_option
@json_option
@quiet_option
def predict(model: str, source: str, output: str, as_json: bool, quiet: bool, **options: Any) -> None:
    """Classify texts with a saved classifier.

    MODEL is the `student` folder of a run, the run itself, or any sequence classifier of transformers,
    which reads the field `text`. The input may be of any size. The output holds the id, the best label and
    its confidence, and the probability of each label.
    """
    from pet.store.outputs import check_output
    from pet.store.tables import TABLE_ENDINGS

    if as_json and output == "-":
        raise PetError("--json and -o - both print; name a file with -o")
    table = table_options_of(options)
    if output != "-":
        check_output(output, TABLE_ENDINGS, file_of(source), table.force)
    check_classifier_input(model, source, table)
    from pet.inference.predict_file import predict_file

    count = predict_file(
        model,
        source,
        sys.stdout if output == "-" else output,
        none_of_these=options["none_of_these"],
        table=table,
        compute=compute_options_of(options),
        reporter=reporter_for(quiet),
    )
    if as_json:
        echo_json({"output": output, "texts": count})
    elif output != "-":
        echo(f"{counted(count, 'text')} classified, written to {output}")
