"""``pet init``: write a commented task file for a data file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pet.cli.echo import echo, echo_json
from pet.cli.help import Command
from pet.cli.options import (
    check_command,
    column_pairs,
    columns_option,
    compute_options,
    force_option,
    format_options,
    json_option,
    labeled_input_option,
    max_length_option,
    quiet_option,
    reporter_for,
    table_format_of,
)
from pet.errors import PetError

if TYPE_CHECKING:
    from pet.scaffold.model_words import ModelOptions
    from pet.scaffold.write import WrittenTask

EXAMPLES = """\b
Examples:
  pet init reviews --input train.jsonl --unlabeled pool.jsonl -m roberta-base -o reviews.yaml
  pet init intents --input train.csv --text utterance --label intent -m roberta-base -o intents.yaml
  pet init reviews --input train.csv --column text=body --column label=stars -o reviews.yaml
  pet init pairs --input train.tsv --text premise --text hypothesis -o pairs.yaml
"""
_MOST_SHOWN = 30  # labels whose words are printed


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("name", metavar="NAME")
@labeled_input_option
@click.option("--unlabeled", metavar="F", help="Unlabeled texts, to find frequent words in. Requires -m.")
@click.option(
    "-m",
    "--model",
    metavar="M",
    help="Language model that finds the words of the labels: a folder or a hub name.  [default: the words are guesses]",
)
@max_length_option
@click.option("--text", multiple=True, metavar="COLUMN", help="A text column. Repeatable.  [default: a guess]")
@click.option("--label", metavar="COLUMN", help="The label column.  [default: a guess]")
@columns_option
@click.option("--merge-labels", is_flag=True, help="Merge labels that differ only in case or spaces.")
@click.option("-o", "--output", required=True, metavar="F", help="The task file: .yaml.")
@format_options
@compute_options
@force_option
@json_option
@quiet_option
def init(
    name: str, source: str, text: tuple[str, ...], label: str | None, output: str, force: bool, **options: Any
) -> None:
    """Write a task file for your own data.

    NAME is the name of the task. The command looks for text columns, ids and labels in the data. With -m, it also
    finds words for the labels, as `pet words` does, and `pet check` accepts the file with this model. The comments in
    the file say what to improve.
    """
    from pet.scaffold.write import NewTaskOptions, write_new_task
    from pet.terminal import clean

    reporter = reporter_for(options["quiet"])
    table_format, model = table_format_of(options), _model_of(options)
    columns = column_pairs(options["columns"])
    how = NewTaskOptions(text, label, columns, options["merge_labels"], force, table_format, model)
    made = write_new_task(name, source, output, how, reporter)
    for warning in _warnings(made, source, output, model is not None):
        reporter.warn(warning)
    if options["as_json"]:
        per_label = {label: list(found) for label, found in made.words.items()}
        echo_json({"output": output, "fields": list(made.fields), "labels": list(made.labels), "words": per_label})
        return
    echo(f"{output}: {len(made.labels)} labels; text columns: {', '.join(made.fields)}")
    if made.unlabeled:
        rows = "1 row has" if made.unlabeled == 1 else f"{made.unlabeled:,} rows have"
        others = ", and with --train, no label applies to them" if made.several else ""
        echo(f"{rows} no label; with --data, they are the unlabeled texts{others}")
    for named, words in [*made.words.items()][:_MOST_SHOWN] if model else ():
        echo(f"  {clean(named)}: {', '.join(words)}")
    given: dict[str, object] = {"--data" if made.unlabeled else "--train": source}
    if model is not None:
        given |= {"-m": model.model, "--unlabeled": model.unlabeled, "--max-length": model.max_length}
    # A task file cannot say that rows are numbered; the other columns are in it.
    repeated = [f"id={columns['id']}"] if columns.get("id") == "" else []
    echo(f"next: {check_command(output, given, table_format, repeated)}")


def _model_of(options: dict[str, Any]) -> ModelOptions | None:
    from pet.scaffold.model_words import ModelOptions

    if options["model"] is None:
        if options["unlabeled"] is not None:
            raise PetError("--unlabeled is read to find words with a model; give one with -m, or leave out --unlabeled")
        return None
    return ModelOptions(
        options["model"],
        options["unlabeled"],
        options["max_length"],
        options["device"] or "auto",
        options["precision"] or "auto",
        bool(options["allow_pickle"]),
    )


def _warnings(made: WrittenTask, source: str, output: str, checked: bool) -> list[str]:
    found = [
        f"the labels {', '.join(map(repr, group))} differ only in case or spaces; add --merge-labels to merge them"
        for group in made.similar
    ]
    found += _missing(made, source)
    if all(label.startswith("[") and label.endswith("]") for label in made.labels):
        found.append(
            f'the labels, such as {made.labels[0]!r}, look like lists; write lists as ["bug", "login"], or labels '
            f"with a separator as bug;login, into the cells of {source}, and run the command again"
        )
    if made.columns.get("label") in made.labels:
        found.append(
            f"{source}: the column of the labels is called {made.columns['label']!r}, like one of the labels; if the "
            "first line is a row, add a line with the names of the columns above it"
        )
    if not checked:
        found.append(
            f"{output}: no model has checked the words, which are guesses from the names of the labels; find better "
            "ones with -m MODEL, or later with `pet words`"
        )
    elif made.guessed:
        found.append(
            f"{output}: {len(made.guessed)} of {len(made.labels)} labels, such as {made.guessed[0]!r}, had too few "
            "texts to find words in, so these are guesses: replace bad ones, or describe the labels under "
            "`descriptions:` and use `pet words`"
        )
    return found


def _missing(made: WrittenTask, source: str) -> list[str]:
    """Return a warning about labels such as ``NA``, if there are any."""
    from pet.data.values import is_missing_label
    from pet.terminal import counted

    # Also as spreadsheets and people write it: #N/A, n.a., -, ?
    words = [label for label in made.labels if is_missing_label(label.strip("#-? ").replace(".", ""))]
    if not words:
        return []
    rows = ", ".join(f"{label!r} in {counted(made.counts[label], 'row')}" for label in words)
    column = made.columns.get("label", "label")
    return [
        f"{source}: the column {column!r} has the label {rows}; if this stands for a missing label, empty these cells, "
        "and run the command again"
    ]
