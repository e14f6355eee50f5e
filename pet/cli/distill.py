"""``pet distill``: train a classifier on soft labels."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pet.cli.early import check_texts
from pet.cli.echo import echo, echo_json
from pet.cli.help import Command
from pet.cli.options import (
    chosen_model,
    column_pairs,
    compute_options,
    compute_options_of,
    input_option,
    json_option,
    list_settings_option,
    max_length_option,
    min_confidence_option,
    quiet_option,
    recipe_option,
    reporter_for,
    seed_option,
    setting_pairs,
    settings_option,
    table_format_of,
    table_options,
)
from pet.data.source_names import text_columns
from pet.errors import PetError
from pet.resources import expand
from pet.run.load_run import is_run
from pet.terminal import counted

if TYPE_CHECKING:
    from pet.data.table_format import TableFormat

EXAMPLES = """\b
Examples:
  pet distill --labels labels.parquet --input more.jsonl --task agnews -m roberta-base -o student
  pet distill --labels theirs.csv --input texts.csv --field body -m distilroberta-base -o student
  pet distill --labels runs/a/g0/labels.parquet --input pool.jsonl --task agnews \\
    --corrections runs/a/reviewed.jsonl -o student
  pet distill --labels labels.jsonl --input more.jsonl --train gold.jsonl --gold-weight 0.2 -o student
"""


@click.command(cls=Command, epilog=EXAMPLES)
@click.option(
    "--labels", required=True, metavar="F", help="Soft labels: a JSONL, CSV, TSV or Parquet file, or a folder."
)
@input_option
@click.option("-m", "--model", metavar="M", help="Model that the student starts from.  [default: mini-en]")
@click.option("-o", "--output", required=True, metavar="DIR", help="A new or empty folder for the student.")
@click.option("--task", metavar="T", help="Names the fields, how they are joined, and the order of the labels.")
@click.option(
    "--field", "fields", multiple=True, metavar="NAME", help="Text column, if there is no --task. Repeatable.  "
    "[default: text]",
)  # fmt: skip
@click.option("--train", metavar="F", help="Labeled texts to train on as well; requires --gold-weight.")
@click.option("--gold-weight", type=float, metavar="W", help="Weight of the labeled texts in the loss, from 0 to 1.")
@click.option(
    "--corrections",
    metavar="F",
    help="Decisions of `pet review`: their labels replace the soft labels of these texts. Requires --task.",
)
@click.option("--temperature", type=float, metavar="T", help="Distillation temperature.  [default: 2]")
@click.option("--hard", is_flag=True, help="Train on the most probable label instead of the probabilities.")
@min_confidence_option
@seed_option
@recipe_option
@settings_option
@max_length_option
@list_settings_option
@table_options
@click.option("--force", is_flag=True, help="Replace a classifier that an earlier `pet distill` wrote.")
@compute_options
@json_option
@quiet_option
def distill(labels: str, source: str, output: str, as_json: bool, quiet: bool, **options: Any) -> None:
    """Train a classifier on soft labels.

    The labels can come from `pet label`, from `pet predict`, or from another program: JSON lines with an `id` and
    `probabilities`, one number for each label; or a CSV file with an `id` and a column `p(LABEL)` for each
    label. A `label` without probabilities counts as certain; a label that contradicts its probabilities
    is refused. Texts and labels are matched by id, in any order.
    """
    if options["hard"] and options["temperature"] is not None:
        raise PetError("--hard trains on labels, without a temperature; give --hard or --temperature")
    if options["task"] and options["fields"]:
        raise PetError("--task names the fields already; give --task or --field")
    from pet.run.load_run import load_task

    changed = setting_pairs(options["settings"], options["max_length"])
    task = load_task(options["task"]) if options["task"] else None
    table_format, columns = table_format_of(options), column_pairs(options["columns"])
    fields, named = (task.fields, task.columns) if task else (options["fields"] or ("text",), {})
    _check_files(labels, source, fields, {**named, **columns}, table_format)
    from pet.inference.distill_file import DistillOptions, distill_file, student_recipe, unused_settings

    reporter = reporter_for(quiet)
    recipe = student_recipe(options["recipe"], changed, options["temperature"])
    if unused := unused_settings(changed):
        reporter.warn(f"--set {', '.join(unused)}: no effect on distillation")
    gold_weight = options["gold_weight"]
    if gold_weight is None:  # that of a recipe only applies with --train; one that was asked for requires it
        gold_weight = recipe.student.gold_weight if options["train"] or "gold_weight" in changed else 0.0
    outcome = distill_file(
        labels,
        source,
        chosen_model(options["model"], reporter),
        output,
        options=DistillOptions(
            task=task,
            fields=options["fields"] or ("text",),
            columns=columns,
            table_format=table_format,
            train=options["train"],
            gold_weight=gold_weight,
            hard=options["hard"],
            min_confidence=options["min_confidence"],
            recipe=recipe,
            seed=options["seed"],
            corrections=options["corrections"],
        ),
        compute=compute_options_of(options),
        force=options["force"],
        reporter=reporter,
    )
    if as_json:
        echo_json({"output": output, **outcome})
        return
    less = f" ({outcome['left_out']} left out)" if outcome["left_out"] else ""
    reviewed = f", {outcome['corrected']} of them reviewed" if "corrected" in outcome else ""
    gold = f"{reviewed and ','} and {outcome['gold']} labeled ones" if outcome["gold"] else ""
    echo(f"distilled from {counted(outcome['texts'], 'text')}{less}{reviewed}{gold}: {output}")
    echo(f"next: pet predict {shlex.quote(output)} --input FILE -o predictions.jsonl")


def _check_files(
    labels: str, source: str, fields: Sequence[str], columns: Mapping[str, str], table_format: TableFormat
) -> None:
    """Check the texts, and that the soft labels exist, before torch is imported."""
    place = expand(labels)
    if not place.exists():
        raise PetError(f"{labels}: no such file; name soft labels of `pet label`, `pet predict` or another program")
    if is_run(place):
        cure = f"name a file of soft labels in it, such as {Path(labels, 'g0', 'labels.parquet')}"
        if not any(place.glob("g*/labels.parquet")):
            command = "predict" if (place / "student").is_dir() else "label"
            cure = f"it has no soft labels, so make some with `pet {command} {labels} --input FILE -o labels.parquet`"
        raise PetError(f"{labels}: is the folder of a run; {cure}")
    check_texts(source, fields, columns=text_columns(source, columns), table_format=table_format)
