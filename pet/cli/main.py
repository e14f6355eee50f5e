"""The ``pet`` command, which imports the module of a subcommand only when it is used."""

from __future__ import annotations

import importlib
from typing import Any

import click

from pet import __version__, lean_imports
from pet.cli.echo import echo, visible_messages
from pet.cli.help import Group
from pet.cli.leave import leave
from pet.errors import PetError
from pet.library_defaults import bound_threads, set_environment
from pet.shortage import check_address_space, shortage, within_limits
from pet.store.disk import disk_problem
from pet.training.memory import own_process

# Subcommands; each is a module in pet.cli with a click command of the same name. Importing torch takes seconds, so
# `pet --help` reads only this table.
COMMANDS = {
    "run": "Train an ensemble, label the pool and distill a classifier.",
    "label": "Label texts with the ensemble of a finished run.",
    "distill": "Train a classifier on soft labels.",
    "predict": "Classify texts with a saved classifier.",
    "export": "Write a classifier as ONNX, for browsers and other programs.",
    "push": "Send a classifier or soft labels to the Hugging Face Hub.",
    "serve": "Serve a classifier over HTTP.",
    "evaluate": "Evaluate a saved classifier on labeled texts.",
    "compare": "Compare finished runs on the same test texts.",
    "suggest": "Suggest texts of a run to label next.",
    "review": "Review the labels of a run on a local page.",
    "convert": "Write soft labels in the format of another tool.",
    "check": "Check a task, its data and a model before training.",
    "sample": "Draw a few-shot training set.",
    "tasks": "List the task files that come with the package, or print one.",
    "init": "Write a commented task file from a data file.",
    "words": "Find words for the labels of a task.",
    "prompts": "Manage trained prompts: store, rank, pretrain and project them.",
    "adapt": "Pretrain a masked language model on your own text.",
    "doctor": "Show versions, devices, threads, folders and missing features.",
}
# Commands that use torch.
COMPUTING = {
    "run",
    "label",
    "distill",
    "predict",
    "export",
    "push",
    "serve",
    "evaluate",
    "compare",
    "suggest",
    "review",
    "convert",
    "check",
    "words",
    "prompts",
    "adapt",
    "doctor",
}


class LazyGroup(Group):
    """A group whose commands are imported when they are used."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Run the command in a process of its own."""
        lean_imports.allow()
        try:
            return super().__call__(*args, **options)
        except SystemExit as end:
            leave(end.code)
            raise

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"pet.cli.{name}"), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in COMPUTING and not {"-h", "--help"} & set(args):
            check_address_space()
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with visible_messages():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            set_environment()
            bound_threads()
            with within_limits(), own_process(), visible_messages():
                return super().invoke(ctx)
        except PetError as error:
            for problem in error.problems:
                echo(f"error: {problem}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            echo("interrupted", err=True)
            ctx.exit(130)  # what a shell reports for a command that ended on Ctrl-C
        except BrokenPipeError:
            raise  # `pet ... | head`: click ends quietly
        except Exception as error:
            message = _known(error)
            if message is None:
                raise
            echo(f"error: {message}", err=True)
            ctx.exit(2)


def _known(error: Exception) -> str | None:
    """Return the message of an error that the user can fix: too little memory, a full disk, a read-only folder."""
    message = shortage(error) or disk_problem(error, "read or write a file")
    if message is None and isinstance(error, OSError):
        message = f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}"
    return message


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pet")
def main() -> None:
    """Few-shot text classification by filling a blank (Pattern-Exploiting Training)."""
