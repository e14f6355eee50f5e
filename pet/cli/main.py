"""The ``pet`` command, which imports the module of a subcommand only when it is used."""

from __future__ import annotations

import importlib
from typing import Any

import click

from pet import __version__
from pet.cli.echo import echo, visible_messages
from pet.errors import PetError
from pet.library_defaults import set_environment
from pet.training.memory import own_process

# Subcommands; each is a module in pet.cli with a click command of the same name. Importing torch takes seconds, so
# `pet --help` reads only this table.
COMMANDS = {
    "run": "Train an ensemble, label the pool and distill a classifier.",
    "label": "Label texts with the ensemble of a finished run.",
    "distill": "Train a classifier on soft labels.",
    "predict": "Classify texts with a saved classifier.",
    "evaluate": "Evaluate a saved classifier on labeled texts.",
    "check": "Check a task, its data and a model before training.",
    "sample": "Draw a few-shot training set.",
    "tasks": "List the task files that come with the package, or print one.",
    "init": "Write a commented task file from a data file.",
    "prompts": "Manage trained prompts: store, rank, pretrain and project them.",
    "adapt": "Pretrain a masked language model on your own text.",
}


OUT_OF_MEMORY = (
    "out of memory; use smaller batches (--set labeled_batch=4 --set accumulation=2 --set student_batch=8 "
    "--set inference_tokens=2048), a smaller --max-length, fewer trained parameters (--tuning) or a smaller model. "
    "A run with other settings needs a new folder"
)


def _is_out_of_memory(error: BaseException) -> bool:
    """Return True if a device or the machine is out of memory, without importing torch for its exceptions."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or "can't allocate memory" in str(error)


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"pet.cli.{name}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with visible_messages():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        set_environment()
        try:
            with own_process(), visible_messages():
                return super().invoke(ctx)
        except PetError as error:
            for problem in error.problems:
                echo(f"error: {problem}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            echo("interrupted", err=True)
            ctx.exit(130)  # what a shell reports for a command that ended on Ctrl-C
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            echo(f"error: {OUT_OF_MEMORY}", err=True)
            ctx.exit(2)
        except BrokenPipeError:
            raise  # `pet ... | head`: click ends quietly
        except OSError as error:  # a full disk or a read-only folder, which the user can fix
            where = f" ({error.filename})" if error.filename else ""
            echo(f"error: {error.strerror or error}{where}", err=True)
            ctx.exit(2)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pet")
def main() -> None:
    """Few-shot text classification by filling a blank (Pattern-Exploiting Training)."""
