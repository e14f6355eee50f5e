"""``--help`` in sections, and suggestions for misspelled commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from pet.suggest import suggest

QUIET = "Print only warnings and results."
MANY = 12  # options; a command with fewer has one section
_HELP = "_click_default_help"  # what click calls its own --help
_MAIN = "Options"
_MORE = "More options"
_SECTIONS = {
    "Reading and writing tables": ("columns", "delimiter", "encoding", "quoting", "keep", "as_is"),
    "Training": (
        "recipe", "effort", "settings", "list_settings", "max_length", "patterns", "tuning", "init_prompt",
        "prompt_library", "project_prompt", "members", "student_model", "seeds", "draws", "estimate", "baselines",
        "temperature", "hard",
    ),
    "Teachers": ("teachers", "max_calls", "max_tokens", "parallel", "teacher_cache"),
    "Where to compute": (
        "device", "precision", "quantize", "runtime", "allow_pickle", "executor", "workers", "worker_cpus",
        "worker_gpus", "ray_address",
    ),
    "Output": ("force", "as_json", "quiet", _HELP),
}  # fmt: skip
_SECTION_OF = {name: section for section, names in _SECTIONS.items() for name in names}


class Command(click.Command):
    """A command whose help lists its options in sections.

    Every command accepts ``--quiet``, so that scripts can always give it.

    Parameters
    ----------
    first : names of the parameters that matter most, in order; they make up the first section, and other options
        without a section of their own come after it
    sections : parameter -> section, besides those that all commands share
    """

    def __init__(
        self, *args: Any, first: Sequence[str] = (), sections: dict[str, str] | None = None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        if all(parameter.name != "quiet" for parameter in self.params):
            self.params.append(click.Option(["-q", "--quiet"], is_flag=True, expose_value=False, help=QUIET))
        self._first, self._own = tuple(first), sections or {}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section."""
        options = [parameter for parameter in self.get_params(ctx) if isinstance(parameter, click.Option)]
        shown = [(option, record) for option in options if (record := option.get_help_record(ctx)) is not None]
        found: dict[str, list[tuple[str, str]]] = {}
        for parameter, record in sorted(shown, key=lambda pair: self._rank(pair[0])):
            found.setdefault(self._section(parameter, len(shown)), []).append(record)
        for section, records in found.items():
            with formatter.section(section):
                formatter.write_dl(records)

    def _section(self, parameter: click.Option, count: int) -> str:
        name = parameter.name or ""
        if count <= MANY or name in self._first:
            return _MAIN
        return self._own.get(name) or _SECTION_OF.get(name) or (_MORE if self._first else _MAIN)

    def _rank(self, parameter: click.Option) -> int:
        """Sort the first options, then those without a section, then the sections; otherwise as declared."""
        name = parameter.name or ""
        if name in self._first:
            return self._first.index(name) - len(self._first)
        section = self._own.get(name) or _SECTION_OF.get(name)
        return [*_SECTIONS].index(section) + 2 if section in _SECTIONS else 1


class Group(click.Group):
    """A group that suggests names for misspelled commands."""

    command_class = Command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name similar ones."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            ctx.fail(f"no such command {name!r}; {suggest(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)
