"""``pet compare``: compare finished runs on the same test texts."""

from __future__ import annotations

import click

from pet.cli.echo import echo, echo_json
from pet.cli.help import Command
from pet.cli.options import force_option, json_option

EXAMPLES = """\b
Examples:
  pet compare runs/agnews runs/again
  pet compare runs/pet runs/ipet runs/supervised --html compared.html
  pet compare runs/agnews runs/again --json
"""


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("runs", metavar="RUN RUN...", nargs=-1, required=True)
@click.option("--html", "page", metavar="F", help="Also write a page with all texts whose label changed.")
@force_option
@json_option
def compare(runs: tuple[str, ...], page: str | None, force: bool, as_json: bool) -> None:
    """Compare finished runs on the same test texts.

    Every run is compared with the first one, text by text: the difference in accuracy with a 95% interval, the
    probability of being better, and the texts whose label changed. The runs must have the same labels and the same test
    texts, in any order. The student is compared, or the ensemble of a run without one.
    """
    from pet.report.comparison import comparison_lines, comparison_page
    from pet.review.compare import compare_runs
    from pet.store.files import write_atomically
    from pet.store.outputs import check_output

    place = None if page is None else check_output(page, (".html", ".htm"), force=force)
    found = compare_runs(runs)
    if place is not None:
        write_atomically(place, comparison_page(found))
    if as_json:
        echo_json(found)
    else:
        echo(comparison_lines(found))
        if place is not None:
            echo(f"\npage: {place}")
