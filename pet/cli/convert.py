"""``pet convert``: write soft labels in the format of another tool."""

from __future__ import annotations

from typing import Any

import click

from pet.cli.echo import echo, echo_json
from pet.cli.help import Command
from pet.cli.options import force_option, json_option, table_options, table_options_of
from pet.terminal import counted

FORMATS = ("label-studio", "argilla", "cleanlab", "spacy", "fasttext")
EXAMPLES = """\b
Examples:
  pet convert runs/reviews --format label-studio -o tasks.json
  pet convert labels.parquet --input more.jsonl --format spacy -o train.spacy
  pet convert predictions.jsonl --input train.csv --task reviews.yaml --format cleanlab -o arrays.npz
"""


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("labels", metavar="LABELS")
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    required=True,
    help="label-studio: tasks with predictions (.json); argilla: records with suggestions (.json); cleanlab: arrays "
    "`labels` and `pred_probs` of labeled texts (.npz); spacy: a DocBin with `cats` (.spacy); fasttext: lines (.txt).",
)
@click.option(
    "--input", "source", metavar="F", help="The texts of the soft labels.  [default: the unlabeled texts of the run]"
)
@click.option("--task", metavar="T", help="Task that names the fields.  [default: that of the run; one field, text]")
@click.option("-o", "--output", required=True, metavar="F", help="File to write, with the ending of the format.")
@table_options
@force_option
@json_option
def convert(
    labels: str, kind: str, source: str | None, task: str | None, output: str, as_json: bool, **options: Any
) -> None:
    """Write soft labels and their texts in the format of another tool.

    LABELS is a file of `pet label` or `pet predict`, or the folder of a finished run. Texts and labels are matched by
    id, and texts without soft labels are left out.
    """
    from pet.review.convert import convert_labels
    from pet.task.task import Task

    loaded = None if task is None else Task.load(task)
    done = convert_labels(labels, output, kind, source=source, task=loaded, table=table_options_of(options))
    if as_json:
        echo_json({"output": output, "texts": done.texts, "left_out": done.left_out})
        return
    others = f"; {done.left_out} texts have no soft labels and were left out" if done.left_out else ""
    echo(f"{counted(done.texts, 'text')} written to {output}{others}")
