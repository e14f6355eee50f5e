"""``pet doctor``: show versions, devices, threads, folders, and which features are installed."""

from __future__ import annotations

import click

from pet.cli.echo import echo, echo_json
from pet.cli.help import Command
from pet.cli.options import json_option

EXAMPLES = """\b
Examples:
  pet doctor
  pet doctor --json > doctor.json
"""


@click.command(cls=Command, epilog=EXAMPLES)
@json_option
def doctor(as_json: bool) -> None:
    """Show what this machine and this installation offer.

    Prints versions, the device and the precision that are used by default, the number of threads and where it comes
    from, memory, cache folders, and the optional features with the command that installs each. Nothing is changed.
    """
    from pet.preflight.doctor import doctor_text, examine

    found = examine()
    if as_json:
        echo_json(found)
    else:
        echo(doctor_text(found))
