"""``pet init``: a commented task file from a data file."""

from __future__ import annotations

import shlex

import click

from pet.cli.options import labeled_input_option

EXAMPLES = """\b
Examples:
  pet init reviews --input train.jsonl -o reviews.yaml
  pet init intents --input train.csv --text utterance --label intent -o intents.yaml
  pet init pairs --input train.tsv --text premise --text hypothesis -o pairs.yaml
"""


@click.command(epilog=EXAMPLES)
@click.argument("name", metavar="NAME")
@labeled_input_option
@click.option("--text", multiple=True, metavar="COLUMN", help="A column with text; repeatable.  [default: a guess]")
@click.option("--label", metavar="COLUMN", help="The column with the labels.  [default: a guess]")
@click.option("-o", "--output", required=True, metavar="F", help="The task file: .yaml.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def init(name: str, source: str, text: tuple[str, ...], label: str | None, output: str, force: bool) -> None:
    """Write a task file for your own data.

    NAME is what the task is called. The data file is looked through for columns of text and for the
    labels; the task file that comes out works at once, and says in comments what to improve.
    """
    from pet.scaffold.write import write_new_task
    from pet.terminal import clean

    made = write_new_task(name, source, output, text=text, label=label, force=force)
    options = [part for pair in made.columns.items() for part in ("--column", "=".join(pair))]
    command = ["pet", "check", output, "--train", source, *options]
    click.echo(f"{output}: {len(made.labels)} labels; text in {', '.join(made.fields)}")
    click.echo(f"next: {clean(shlex.join(command))}")
