"""``pet distill``: a classifier from soft labels."""

from __future__ import annotations

import shlex
from typing import Any

import click

from pet.cli.options import (
    chosen_model,
    column_pairs,
    columns_option,
    compute_options,
    echo_json,
    json_option,
    list_settings_option,
    quiet_option,
    reporter_for,
    setting_pairs,
    settings_option,
)
from pet.errors import PetError

EXAMPLES = """\b
Examples:
  pet distill --labels labels.parquet --input more.jsonl --task agnews -m roberta-base -o student
  pet distill --labels theirs.jsonl --input texts.csv --field body -m distilroberta-base -o student
  pet distill --labels labels.jsonl --input more.jsonl --train gold.jsonl --gold-weight 0.2 -o student
"""


@click.command(epilog=EXAMPLES)
@click.option("--labels", required=True, metavar="F", help="Soft labels: .parquet, a folder of it, or .jsonl.")
@click.option("--input", "source", required=True, metavar="F", help="The texts with these ids.")
@click.option("-m", "--model", metavar="M", help="What the student starts from.  [default: mini-en]")
@click.option("-o", "--output", required=True, metavar="DIR", help="The folder of the student; new, or empty.")
@click.option("--task", metavar="T", help="Says which fields there are, how they are joined, the labels' order.")
@click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="NAME",
    help="Text column, without --task. Repeatable.  [default: text]",
)
@click.option("--train", metavar="F", help="Labeled texts to mix in, with --gold-weight.")
@click.option("--gold-weight", type=float, metavar="W", help="Their share of the loss, 0 to 1.")
@click.option("--temperature", type=float, metavar="T", help="Of the distillation.  [default: that of the recipe, 2]")
@click.option("--hard", is_flag=True, help="Train on the most probable label instead of the probabilities.")
@click.option(
    "--min-confidence",
    type=float,
    default=0.0,
    metavar="P",
    help="Leave out texts whose best label is less probable.",
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="S", help="Of everything that is random.")
@click.option("--recipe", default="default", metavar="R", help="default, paper or fewglue; see --list-settings.")
@settings_option
@click.option("--max-length", type=int, metavar="N", help="Longest input in tokens; short for --set max_length=N.")
@list_settings_option
@columns_option
@compute_options
@json_option
@quiet_option
def distill(labels: str, source: str, output: str, as_json: bool, quiet: bool, **options: Any) -> None:
    """Train a classifier on soft labels.

    The labels can come from `pet label`, from `pet predict`, or from anywhere: JSON lines with an `id` and
    `probabilities`, a number for each label. Texts are found by id, so that the order does not matter.
    """
    if options["hard"] and options["temperature"] is not None:
        raise PetError("--hard trains on labels, which have no temperature; give --hard or --temperature")
    if options["task"] and options["fields"]:
        raise PetError("--task names the fields already; give --task or --field")
    changed = setting_pairs(options["settings"])
    if options["max_length"] is not None:
        changed["max_length"] = str(options["max_length"])
    from pet.inference.distill_file import distill_file, student_recipe
    from pet.run.load_run import load_task

    reporter = reporter_for(quiet)
    recipe = student_recipe(options["recipe"], changed, options["temperature"])
    gold_weight = options["gold_weight"]
    if gold_weight is None:  # a named recipe's goes with labeled texts alone; one that was asked for needs them
        gold_weight = recipe.student.gold_weight if options["train"] or "gold_weight" in changed else 0.0
    outcome = distill_file(
        labels,
        source,
        chosen_model(options["model"], reporter),
        output,
        task=load_task(options["task"]) if options["task"] else None,
        fields=options["fields"] or ("text",),
        train=options["train"],
        gold_weight=gold_weight,
        hard=options["hard"],
        min_confidence=options["min_confidence"],
        recipe=recipe,
        columns=column_pairs(options["columns"]),
        seed=options["seed"],
        device=options["device"] or "auto",
        precision=options["precision"] or "auto",
        allow_pickle=bool(options["allow_pickle"]),
        reporter=reporter,
    )
    if as_json:
        echo_json({"output": output, **outcome})
        return
    gold = f" and {outcome['gold']} labeled ones" if outcome["gold"] else ""
    less = f" ({outcome['left_out']} left out)" if outcome["left_out"] else ""
    click.echo(f"distilled from {outcome['texts']} texts{less}{gold}: {output}")
    click.echo(f"next: pet predict {shlex.quote(output)} --input FILE -o predictions.jsonl")
