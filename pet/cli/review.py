"""``pet review``: label texts of a run on a local page, or in a spreadsheet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from pet.review.session import Review

EXAMPLES = """\b
Examples:
  pet review runs/agnews
  pet review runs/agnews --no-browser --port 8765
  pet review runs/agnews --format csv -n 200 -o next.csv
  pet review runs/agnews --read next.csv
"""


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("run", metavar="RUN")
@click.option(
    "-o",
    "--output",
    metavar="F",
    help="File for the decisions, or the table with --format.  [default: reviewed.jsonl in RUN]",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Port of the page.  [default: a free one]"
)
@click.option("--no-browser", is_flag=True, help="Print the address of the page, but do not open it.")
@click.option("--format", "table", type=click.Choice(["csv"]), help="Write a table to fill in instead.")
@click.option(
    "-n", "--number", type=int, default=100, show_default=True, metavar="N", help="With --format: number of texts."
)
@click.option("--read", metavar="F", help="Read a table that was filled in, and save its decisions.")
@seed_option
@device_option
@pickle_option
@force_option
@json_option
@quiet_option
def review(
    run: str,
    output: str | None,
    table: str | None,
    number: int,
    read: str | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Review the labels of a run's unlabeled texts on a page on this machine.

    The texts come in the order of `pet suggest`. Each decision is saved at once to reviewed.jsonl in RUN; start again
    to go on. Only this machine can open the page, and only with the address that is printed. Stop with Ctrl-C.
    """
    from pet.errors import PetError
    from pet.review.finished import open_finished
    from pet.review.session import Review

    if table is not None and read is not None:
        raise PetError("--format and --read: use one of them; --format writes a table, --read reads it back")
    if table is not None and output is None:
        raise PetError(f"--format {table} writes a file; name it with -o, such as -o next.{table}")
    if table is None and read is None:
        if as_json:
            raise PetError("--json prints the result of --format or --read; leave it out for the page")
        _check_server()
    reporter = reporter_for(quiet)
    opened = open_finished(
        run, reporter, device=options["device"] or "auto", allow_pickle=bool(options["allow_pickle"])
    )
    made = Review(opened, output if table is None else None, options["seed"])
    if output is not None and table is not None:
        from pet.review.spreadsheet import write_table

        count = write_table(made, output, number, force=options["force"])
        if as_json:
            echo_json({"output": output, "texts": count})
        else:
            echo(f"{counted(count, 'text')} to label in {output}")
    elif read is not None:
        from pet.review.spreadsheet import read_table_back

        found = read_table_back(made, read)
        if as_json:
            counts = {"new": found.new, "replaced": found.replaced, "known": found.known}
            echo_json({"output": str(made.path), **counts})
        else:
            new = counted(found.new, "new decision")
            echo(f"{new}, {found.replaced} replaced, {found.known} known before, in {made.path}")
    else:
        _serve(made, options["port"], not options["no_browser"])


def _check_server() -> None:
    from pet.errors import PetError
    from pet.extras import install_command, is_installed

    missing = [name for name in ("starlette", "uvicorn") if not is_installed(name)]
    if missing:
        raise PetError(
            f"the page requires {' and '.join(missing)}; install it with: {install_command('review')}; or use a "
            "spreadsheet: --format csv -o next.csv"
        )


def _serve(made: Review, port: int, browser: bool) -> None:
    from pet.review.serve import serve

    made.prepare()
    reporter = made.run.reporter
    reporter.info(f"decisions are saved in {made.path}; press Ctrl-C to stop")
    serve(made, port, echo, browser=browser)
    counts = made.state(made.ledger.revision)["counts"]
    reporter.info(f"stopped; {len(made.ids) - counts['left']} of {len(made.ids)} texts are decided in {made.path}")
