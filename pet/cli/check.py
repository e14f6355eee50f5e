"""``pet check``: check a task, its data and a model before a run."""

from __future__ import annotations

from typing import Any

import click

from pet.cli.echo import echo, echo_json
from pet.cli.help import Command
from pet.cli.options import (
    access_of,
    chosen_model,
    column_pairs,
    compute_options,
    data_options,
    draw_options,
    json_option,
    limit_options,
    max_length_option,
    model_option,
    patterns_option,
    pool_size_option,
    quiet_option,
    recipe_option,
    reporter_for,
    seed_option,
    setting_pairs,
    settings_option,
    split_data,
    table_format_of,
    table_options,
    teachers_of,
)
from pet.errors import PetError

EXAMPLES = """\b
Examples:
  pet check agnews
  pet check my.yaml --train train.jsonl --unlabeled pool.jsonl --test test.jsonl -m roberta-base
  pet check my.yaml --data tickets.xlsx -m roberta-base
  pet check my.yaml --train train.jsonl --examples 32 --unlabeled pool.jsonl --pool-size 2000
  pet check my.yaml --method ipet --unlabeled pool.jsonl
  pet check my.yaml --train train.csv --column text=review --max-length 128 --no-model
"""


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("task", metavar="TASK")
@data_options
@model_option
@max_length_option
@draw_options
@pool_size_option
@seed_option
@click.option(
    "--method",
    type=click.Choice(("pet", "ipet")),
    default="pet",
    show_default=True,
    help="Method to estimate the time of.",
)
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    metavar="T",
    help="Also check this teacher, as for `pet run`, and say what it costs. A server is asked about one text without "
    "content. Repeatable.",
)
@limit_options
@recipe_option
@patterns_option
@settings_option
@click.option(
    "--rows",
    type=int,
    default=200,
    show_default=True,
    metavar="N",
    help="Number of labeled texts to score with the untrained patterns.",
)
@table_options
@click.option(
    "--no-model",
    is_flag=True,
    help="Do not load the model's weights, only its tokenizer: no accuracy and no time estimate.",
)
@compute_options
@json_option
@quiet_option
def check(task: str, as_json: bool, quiet: bool, no_model: bool, **options: Any) -> None:
    """Check a task, its data and a model before training.

    Shows the rows of each label, duplicates and overlaps of the files, the first texts in each pattern as tokens,
    the tokens of the label words, how many texts are truncated, the accuracy of the untrained patterns, and
    about how long a run takes.

    The exit status is 0 if a run would work, with or without warnings, and 2 if it would fail.
    """
    from pet.recipe import make_recipe
    from pet.task.task import Task

    reporter = reporter_for(quiet)
    settings = setting_pairs(options["settings"], options["max_length"])
    loaded = Task.load(task)
    make_recipe(options["recipe"], settings)
    split_data(options)
    from pet.data.run_texts import RunDraw
    from pet.preflight.check_task import CheckOptions, check_task
    from pet.preflight.text import check_text

    tables = {name: options[name] for name in ("train", "unlabeled", "test") if options[name] is not None}
    report = check_task(
        loaded if options["patterns"] is None else loaded.with_patterns(options["patterns"]),
        chosen_model(options["model"], reporter),
        CheckOptions(
            sources=tables,
            draw=RunDraw(
                options["shots"],
                options["examples"],
                not options["as_drawn"],
                options["pool_size"],
                options["seed"],
                options["seed"],
            ),
            columns=column_pairs(options["columns"]),
            table_format=table_format_of(options),
            method=options["method"],
            recipe=options["recipe"],
            settings=settings,
            rows=options["rows"],
            weights=not no_model,
            device=options["device"] or "auto",
            precision=options["precision"] or "auto",
            allow_pickle=bool(options["allow_pickle"]),
            members=teachers_of(options["teachers"]),
            access=access_of(options),
        ),
        reporter,
    )
    for warning in report.warnings:
        reporter.warn(warning)
    if as_json:
        echo_json(report.to_dict())
    else:
        echo(check_text(report))
    if report.errors:
        raise PetError(report.errors)
