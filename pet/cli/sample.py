"""``pet sample``: draw a few-shot training set from a larger labeled file."""

from __future__ import annotations

from typing import Any

import click

from pet.cli.echo import echo, echo_json
from pet.cli.help import Command
from pet.cli.options import (
    as_is_option,
    draw_options,
    force_option,
    json_option,
    labeled_input_option,
    seed_option,
    table_options,
    table_options_of,
)
from pet.terminal import clean, counted

EXAMPLES = """\b
Examples:
  pet sample agnews --input all.jsonl --shots 10 -o train.jsonl
  pet sample agnews --input all.jsonl --examples 40 --seed 1 -o train.csv --rest pool.jsonl
  pet sample agnews --input all.jsonl --examples 40 -o train.jsonl --rest test.jsonl --keep-labels
  pet sample yelp --input hub:Yelp/yelp_review_full@train --shots 8 -o train.parquet
"""


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("task", metavar="TASK")
@labeled_input_option
@click.option("-o", "--output", required=True, metavar="F", help="Drawn rows: .jsonl, .csv, .tsv or .parquet.")
@click.option("--rest", metavar="F", help="Also write all other rows, without their labels, as a pool to label.")
@click.option("--keep-labels", is_flag=True, help="With --rest: keep the labels, as in a test set.")
@draw_options
@seed_option
@table_options
@click.option(
    "--keep",
    multiple=True,
    metavar="COLUMN",
    help="Besides the columns that the task reads, copy only this one. Repeatable, or several with commas between "
    "them.  [default: copy all]",
)
@as_is_option
@force_option
@json_option
def sample(task: str, source: str, output: str, rest: str | None, as_json: bool, **options: Any) -> None:
    """Draw a few-shot training set from a labeled file.

    The rows are those that `pet run` trains on with the same file, size and seed. A larger draw with the
    same seed begins with the rows of a smaller one.
    """
    from pet.data.draw import DrawOptions, draw_file
    from pet.task.task import Task

    drawn = draw_file(
        Task.load(task),
        source,
        output,
        DrawOptions(options["shots"], options["examples"], not options["as_drawn"], options["seed"]),
        rest=rest,
        keep_labels=options["keep_labels"],
        table=table_options_of(options),
    )
    rows = sum(drawn.per_label.values())
    if as_json:
        files = {"output": output, "rest": rest}
        echo_json(files | {"rows": rows, "per_label": dict(drawn.per_label), "rest_rows": drawn.rest})
        return
    echo(f"{counted(rows, 'row')} in {output}")
    echo("\n".join(f"  {clean(label)}: {count}" for label, count in drawn.per_label.items()))
    if drawn.rest is not None:
        echo(f"{counted(drawn.rest, 'row')} {'with' if options['keep_labels'] else 'without'} labels in {rest}")
