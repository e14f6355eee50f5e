"""``pet push``: send a classifier or soft labels to the Hugging Face Hub."""

from __future__ import annotations

import click

from pet.cli.echo import echo, echo_json
from pet.cli.help import Command
from pet.cli.options import json_option

EXAMPLES = """\b
Examples:
  pet push runs/agnews someone/news-classifier --license apache-2.0 --language en --dry-run
  pet push labels.parquet someone/news-labels --labels --private
"""


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("source", metavar="MODEL|F")
@click.argument("repository", metavar="OWNER/NAME")
@click.option(
    "--labels",
    is_flag=True,
    help="Send soft labels as a data set: F is a file or folder of `pet label`, or a run.",
)
@click.option("--license", "license_", metavar="L", help="License for the card, such as apache-2.0.")
@click.option("--language", multiple=True, metavar="CODE", help="Language for the card, such as en. Repeatable.")
@click.option("--dataset", multiple=True, metavar="NAME", help="Data set on the hub that was used. Repeatable.")
@click.option("--private", is_flag=True, help="Create a repository that others cannot see.")
@click.option("--dry-run", is_flag=True, help="List what would be sent, and send nothing.")
@json_option
def push(
    source: str, repository: str, labels: bool, license_: str | None, language: tuple[str, ...],
    dataset: tuple[str, ...], private: bool, dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Send a classifier or soft labels to the Hugging Face Hub.

    MODEL is a student, a run, or a folder of `pet export`. Only files that belong to the classifier are sent, with its
    card; the token is that of $HF_TOKEN or `hf auth login`.
    """
    from pet.export import hub

    about = hub.About(license_, language, dataset)
    hub.check_repository(repository)
    upload = hub.labels_upload(source, about) if labels else hub.model_upload(source, about)
    address = None if dry_run else hub.push(upload, repository, private=private)
    if as_json:
        echo_json({"repository": repository, "files": upload.sizes(), "left_out": upload.left_out, "commit": address})
        return
    for name, size in upload.sizes().items():
        echo(f"{'would send' if dry_run else 'sent'} {name} ({size:,} bytes)")
    if upload.left_out:
        echo(f"not sent: {', '.join(upload.left_out)}")
    if address is not None:
        echo(address)
