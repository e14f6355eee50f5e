"""``pet words``: find words for the labels of a task."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from pet.cli.echo import echo, echo_json
from pet.cli.help import Command
from pet.cli.options import (
    check_command,
    chosen_model,
    column_pairs,
    compute_options,
    json_option,
    max_length_option,
    model_option,
    one_table_option,
    patterns_option,
    quiet_option,
    reporter_for,
    seed_option,
    setting_pairs,
    split_data,
    table_format_of,
    table_options,
)

EXAMPLES = """\b
Examples:
  pet words reviews.yaml --train train.jsonl --unlabeled pool.jsonl -m roberta-base
  pet words reviews.yaml --train train.jsonl --unlabeled pool.jsonl -m roberta-base -k 5 --write
  pet words reviews.yaml --unlabeled pool.jsonl -m roberta-base   # from the names and descriptions of the labels
"""

# Options that the next command repeats.
_REPEATED = {
    "--data": "data", "--train": "train", "--unlabeled": "unlabeled", "-m": "model", "--max-length": "max_length"
}  # fmt: skip


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("task", metavar="TASK")
@one_table_option
@click.option("--train", metavar="F", help="Labeled texts, to find words from.")
@click.option("--unlabeled", metavar="F", help="Unlabeled texts, to count words in and to check words against.")
@model_option
@max_length_option
@click.option(
    "-k", "--count", type=int, default=10, show_default=True, metavar="N", help="Number of words of each label."
)
@click.option(
    "--texts",
    type=int,
    default=300,
    show_default=True,
    metavar="N",
    help="Maximum number of labeled texts to fill the patterns with, and of unlabeled texts.",
)
@click.option("--write", is_flag=True, help="Write the words into the task file. Comments and all else stay.")
@patterns_option
@seed_option
@table_options
@compute_options
@json_option
@quiet_option
def words(task: str, count: int, texts: int, write: bool, as_json: bool, quiet: bool, **options: Any) -> None:
    """Find words for the labels of a task, with the model that will fill them in.

    Labels with labeled texts get the frequent words that the model fills in for their texts and not for others.
    Labels without get words similar to their name and description, checked against the unlabeled texts. The words
    that the task file has so far are not used. Every word is one token of the model and belongs to one label.
    """
    from pet.backbones.info import ModelInfo
    from pet.errors import PetError
    from pet.members.models import Models
    from pet.members.shared import Shared
    from pet.recipe import make_recipe
    from pet.task.task import Task
    from pet.words.find import WordOptions, find_words
    from pet.words.tables import read_texts
    from pet.words.text import words_dict, words_text
    from pet.words.write import check_writable, write_words

    reporter = reporter_for(quiet)
    how = WordOptions(count, texts, options["seed"])
    whole = Task.load(task, words=False)
    if write:
        check_writable(whole)
        if options["patterns"] is not None:
            raise PetError("--write needs the words of all patterns; leave out --patterns")
    chosen = whole if options["patterns"] is None else whole.with_patterns(options["patterns"])
    given = {option: options[name] for option, name in _REPEATED.items()}
    split_data(options)
    columns, table_format = column_pairs(options["columns"]), table_format_of(options)
    sources = {name: options[name] for name in ("train", "unlabeled") if options[name] is not None}
    tables = read_texts(chosen, sources, columns, table_format)
    recipe = make_recipe("default", setting_pairs((), options["max_length"]))
    info = ModelInfo(chosen_model(options["model"], reporter), allow_pickle=bool(options["allow_pickle"]))
    info.check()
    models = Models(info, recipe.encoding.max_length, shared=False)
    shared = Shared(chosen, recipe, models, options["device"] or "auto", options["precision"] or "auto")
    groups = find_words(shared, tables.get("train"), tables.get("unlabeled"), how, reporter)
    if options["patterns"] is not None:  # counted as in the whole task
        groups = [replace(g, patterns=tuple(options["patterns"][p] - 1 for p in g.patterns)) for g in groups]
    if write:
        write_words(whole, groups)
    if as_json:
        echo_json(words_dict(whole, info.name, groups))
        return
    echo(words_text(whole, groups))
    if write:
        echo(f"\nwritten to {whole.path}\nnext: {check_command(task, given, table_format, options['columns'])}")
