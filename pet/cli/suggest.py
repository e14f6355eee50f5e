"""``pet suggest``: which texts of a run to label next."""

from __future__ import annotations

from typing import Any

import click

from pet.cli.echo import echo, echo_json
from pet.cli.help import Command
from pet.cli.options import (
    device_option,
    force_option,
    json_option,
    pickle_option,
    quiet_option,
    reporter_for,
    seed_option,
)
from pet.terminal import counted

EXAMPLES = """\b
Examples:
  pet suggest runs/agnews
  pet suggest runs/agnews -n 40 -o next.csv
  pet suggest runs/agnews -n 200 --tool label-studio -o tasks.json
"""
_WIDTH = 100


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("run", metavar="RUN")
@click.option("-n", "--number", type=int, default=20, show_default=True, metavar="N", help="Number of texts.")
@click.option(
    "-o",
    "--output",
    metavar="F",
    help="A table to fill in: .csv, .tsv, .jsonl or .parquet; .json with --tool.  [default: print them]",
)
@click.option("--tool", type=click.Choice(["label-studio", "argilla"]), help="Write records of this annotation tool.")
@seed_option
@device_option
@pickle_option
@force_option
@json_option
@quiet_option
def suggest(
    run: str, number: int, output: str | None, tool: str | None, as_json: bool, quiet: bool, **options: Any
) -> None:
    """Suggest unlabeled texts of a run to label next.

    They differ from each other: one from the middle of each cluster, with more clusters where labels are unsure. RUN
    may have no labeled texts at all. Fill in the column `label`, read the table with `pet review RUN --read F`, and
    train again with `pet run RUN/config.yaml --corrections RUN/reviewed.jsonl`.
    """
    from pet.errors import PetError
    from pet.review.finished import open_finished
    from pet.review.records import as_json as plain
    from pet.review.records import write_suggestions
    from pet.review.suggest import suggest as find
    from pet.terminal import fit

    if tool is not None and output is None:
        raise PetError(f"--tool {tool} writes a file; name it with -o, such as -o tasks.json")
    opened = open_finished(
        run,
        reporter_for(quiet),
        device=options["device"] or "auto",
        allow_pickle=options["allow_pickle"],
    )
    found = find(opened, number, options["seed"])
    if output is not None:
        write_suggestions(opened.task, found, output, tool, force=options["force"])
    if as_json:
        echo_json({"run": run, "output": output, "suggestions": [plain(suggestion) for suggestion in found]})
    elif output is not None:
        echo(f"{counted(len(found), 'text')} to label in {output}")
    else:
        for suggestion in found:
            text = " | ".join(" ".join(value.split()) for value in suggestion.values.values())
            echo(f"{suggestion.proposed or 'no label'} {suggestion.probability:.2f}  {fit(text, _WIDTH)}")
