"""``pet sample``: a few-shot training set from a larger labeled file."""

from __future__ import annotations

import click

from pet.cli.options import column_pairs, columns_option, echo_json, json_option, labeled_input_option

EXAMPLES = """\b
Examples:
  pet sample agnews --input all.jsonl --shots 10 -o train.jsonl
  pet sample agnews --input all.jsonl --examples 40 --seed 1 -o train.csv --rest pool.jsonl
  pet sample agnews --input all.jsonl --examples 40 -o train.jsonl --rest test.jsonl --keep-labels
  pet sample yelp --input hub:Yelp/yelp_review_full@train --shots 8 -o train.parquet
"""


@click.command(epilog=EXAMPLES)
@click.argument("task", metavar="TASK")
@labeled_input_option
@click.option("-o", "--output", required=True, metavar="F", help="The draw: .jsonl, .csv, .tsv or .parquet.")
@click.option("--rest", metavar="F", help="Also write all other rows, without their labels: a pool to label.")
@click.option("--keep-labels", is_flag=True, help="With --rest: leave the labels in it, as in a test set.")
@click.option("--shots", type=int, metavar="N", help="Draw N rows of each label.")
@click.option("--examples", type=int, metavar="N", help="Draw N rows in total, evenly over the labels.")
@click.option("--as-drawn", is_flag=True, help="With --examples: draw them as the file has them.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="S", help="Another seed, other rows.")
@columns_option
@json_option
def sample(
    task: str,
    source: str,
    output: str,
    rest: str | None,
    keep_labels: bool,
    shots: int | None,
    examples: int | None,
    as_drawn: bool,
    seed: int,
    columns: tuple[str, ...],
    as_json: bool,
) -> None:
    """Draw a few-shot training set from a labeled file.

    The rows keep all their columns. They are the rows that `pet run` with the same file, size and
    seed trains on, and a larger draw with the same seed begins with them.
    """
    from pet.data.draw import draw_file
    from pet.task.task import Task

    drawn = draw_file(
        Task.load(task),
        source,
        output,
        rest=rest,
        keep_labels=keep_labels,
        shots=shots,
        examples=examples,
        balanced=not as_drawn,
        seed=seed,
        columns=column_pairs(columns),
    )
    if as_json:
        files = {"output": output, "rest": rest}
        echo_json(
            files
            | {
                "rows": sum(drawn.per_label.values()),
                "per_label": dict(drawn.per_label),
                "rest_rows": drawn.rest,
            }
        )
        return
    click.echo(f"{sum(drawn.per_label.values())} rows in {output}")
    click.echo("\n".join(f"  {label}: {count}" for label, count in drawn.per_label.items()))
    if rest is not None:
        click.echo(f"{drawn.rest} rows {'with' if keep_labels else 'without'} labels in {rest}")
