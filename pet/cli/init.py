"""``pet init``: write a commented task file for a data file."""

from __future__ import annotations

import shlex
from typing import Any

import click

from pet.cli.echo import echo
from pet.cli.options import force_option, format_options, labeled_input_option, table_format_of

EXAMPLES = """\b
Examples:
  pet init reviews --input train.jsonl -o reviews.yaml
  pet init intents --input train.csv --text utterance --label intent -o intents.yaml
  pet init pairs --input train.tsv --text premise --text hypothesis -o pairs.yaml
"""


@click.command(epilog=EXAMPLES)
@click.argument("name", metavar="NAME")
@labeled_input_option
@click.option("--text", multiple=True, metavar="COLUMN", help="A text column. Repeatable.  [default: a guess]")
@click.option("--label", metavar="COLUMN", help="The label column.  [default: a guess]")
@click.option("-o", "--output", required=True, metavar="F", help="The task file: .yaml.")
@format_options
@force_option
def init(
    name: str, source: str, text: tuple[str, ...], label: str | None, output: str, force: bool, **options: Any
) -> None:
    """Write a task file for your own data.

    NAME is the name of the task. The command looks for text columns and labels in the data. The task file
    works as it is; its comments say what to improve.
    """
    from pet.scaffold.write import write_new_task
    from pet.terminal import clean

    table_format = table_format_of(options)
    made = write_new_task(name, source, output, text=text, label=label, force=force, table_format=table_format)
    columns = [part for pair in made.columns.items() for part in ("--column", "=".join(pair))]
    given = [part for name, value in table_format.to_dict().items() for part in (f"--{name}", value)]
    command = ["pet", "check", output, "--train", source, *columns, *given]
    echo(f"{output}: {len(made.labels)} labels; text columns: {', '.join(made.fields)}")
    echo(f"next: {clean(shlex.join(command))}")
