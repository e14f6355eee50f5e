"""``pet check``: everything that can be known before a run."""

from __future__ import annotations

from typing import Any

import click

from pet.cli.options import (
    chosen_model,
    column_pairs,
    columns_option,
    compute_options,
    echo_json,
    json_option,
    patterns_option,
    quiet_option,
    reporter_for,
    setting_pairs,
    settings_option,
)
from pet.errors import PetError

EXAMPLES = """\b
Examples:
  pet check agnews
  pet check my.yaml --train train.jsonl --unlabeled pool.jsonl --test test.jsonl -m roberta-base
  pet check my.yaml --method ipet --unlabeled pool.jsonl
  pet check my.yaml --train train.csv --column text=review --max-length 128 --no-model
"""


@click.command(epilog=EXAMPLES)
@click.argument("task", metavar="TASK")
@click.option("--train", metavar="F", help="Labeled texts: JSONL, CSV, TSV, Parquet, or hub:OWNER/NAME@SPLIT.")
@click.option("--unlabeled", metavar="F", help="Texts without labels.")
@click.option("--test", metavar="F", help="Labeled texts that results will be measured on.")
@click.option("-m", "--model", metavar="M", help="Language model: a folder or a hub name.  [default: mini-en]")
@click.option("--max-length", type=int, metavar="N", help="Longest input in tokens; short for --set max_length=N.")
@click.option(
    "--method",
    type=click.Choice(("pet", "ipet")),
    default="pet",
    show_default=True,
    help="For the estimate of the time.",
)
@click.option(
    "--recipe",
    default="default",
    metavar="R",
    help="default, paper or fewglue; for the estimate of the time.",
)
@patterns_option
@settings_option
@click.option(
    "--rows",
    type=int,
    default=200,
    show_default=True,
    metavar="N",
    help="Labeled texts to try the untrained patterns on.",
)
@columns_option
@click.option(
    "--no-model",
    is_flag=True,
    help="Leave the model's weights alone (its tokenizer is used): no accuracy, no time.",
)
@compute_options
@json_option
@quiet_option
def check(task: str, as_json: bool, quiet: bool, no_model: bool, **options: Any) -> None:
    """Look at a task, its data and a model without training.

    Shows the rows of each label, leaks and doubled texts, each pattern filled with the first texts and
    cut into tokens, words that are more than one token, how many texts are cut, how well the untrained
    patterns do, and about how long a run will take.

    The exit status is 0 where a run would work, warnings or not, and 2 where it would fail.
    """
    from pet.preflight.check_task import check_task
    from pet.preflight.text import check_text
    from pet.task.task import Task

    reporter = reporter_for(quiet)
    settings = setting_pairs(options["settings"])
    if options["max_length"] is not None:
        settings["max_length"] = str(options["max_length"])
    loaded = Task.load(task)
    report = check_task(
        loaded if options["patterns"] is None else loaded.with_patterns(options["patterns"]),
        chosen_model(options["model"], reporter),
        train=options["train"],
        unlabeled=options["unlabeled"],
        test=options["test"],
        method=options["method"],
        recipe=options["recipe"],
        settings=settings,
        columns=column_pairs(options["columns"]),
        rows=options["rows"],
        weights=not no_model,
        device=options["device"] or "auto",
        precision=options["precision"] or "auto",
        allow_pickle=bool(options["allow_pickle"]),
        reporter=reporter,
    )
    for warning in report.warnings:
        reporter.warn(warning)
    if as_json:
        echo_json(report.to_dict())
    else:
        click.echo(check_text(report))
    if report.errors:
        raise PetError(report.errors)
