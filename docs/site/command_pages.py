"""The reference of every command, from the commands themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator

import click

from pet.cli.main import COMMANDS, main

INTRODUCTION = """\
# Reference of the commands

Everything that `pet --help` and `pet COMMAND --help` say. The guide [Commands](../../commands.md) explains what the
commands are for, and which options many of them share.

"""


def every_command() -> Iterator[tuple[str, click.Command]]:
    """Yield every command with its name, such as ``prompts rank``, groups before their commands."""
    context = click.Context(main, info_name="pet")
    for name in COMMANDS:
        command = main.get_command(context, name) or click.Command(name)
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {part}", inner) for part, inner in command.commands.items())


def page_of(name: str) -> str:
    """Return the place of a command's page in the site, without a suffix."""
    return f"reference/commands/{name.replace(' ', '-')}"


def plain(text: str) -> str:
    """Return a text of click as Markdown in which only code has a meaning.

    Examples
    --------
    >>> plain("Files *.csv; `pet run` writes a_b.")
    'Files \\\\*.csv; `pet run` writes a\\\\_b.'
    """
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(
        part if number % 2 else re.sub(r"([\\*_<>\[\]|$#])", r"\\\1", part) for number, part in enumerate(parts)
    )


def _about(command: click.Command) -> list[str]:
    """Return the paragraphs of a command's help; blocks that click prints as they are become code."""
    blocks = []
    for block in re.split(r"\n\s*\n", inspect.cleandoc(command.help or "")):
        kept = block.startswith("\b")
        lines = block.lstrip("\b").strip("\n").splitlines()
        blocks.append("```text\n" + "\n".join(lines) + "\n```" if kept else plain(" ".join(map(str.strip, lines))))
    return blocks


class _Sections(click.HelpFormatter):
    """Collects the options that click would print, by section."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {}
        self._section = "Options"

    def write_heading(self, heading: str) -> None:
        self._section = heading

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        for signature, text in rows:
            if signature.startswith("-"):  # commands of a group are listed elsewhere
                self.found.setdefault(self._section, []).append(_directive(signature, text))


def _directive(signature: str, text: str) -> str:
    return f"```{{option}} {signature.replace(' / ', ', ')}\n{plain(text)}\n```"


def command_page(name: str, command: click.Command) -> str:
    """Return the page of a command."""
    context = click.Context(command, info_name=f"pet {name}", **main.context_settings)
    usage = " ".join(["pet", name, *command.collect_usage_pieces(context)])
    parts = [f"# pet {name}", *_about(command), f"```text\n{usage}\n```", f"```{{program}} pet {name}\n```"]
    if isinstance(command, click.Group):
        parts.append("\n".join(f"- [pet {name} {each}]({name}-{each}.md)" for each in command.commands))
    sections = _Sections()
    command.format_options(context, sections)
    for section, options in sections.found.items():
        parts += [f"## {section}", *options]
    if command.epilog:
        parts += ["## Examples", _epilog(command.epilog)]
    return "\n\n".join(parts) + "\n"


def _epilog(text: str) -> str:
    lines = inspect.cleandoc(text.replace("\b", "")).splitlines()
    return "```text\n" + inspect.cleandoc("\n".join(lines[1:] if lines[0].startswith("Example") else lines)) + "\n```"


def command_pages() -> dict[str, str]:
    """Return the pages of all commands and their index: place without a suffix -> Markdown."""
    pages = {page_of(name): command_page(name, command) for name, command in every_command()}
    items = [f"| [pet {name}]({name}.md) | {plain(text)} |" for name, text in COMMANDS.items()]
    names = [page.rpartition("/")[2] for page in pages]
    toctree = "\n".join(["```{toctree}", ":hidden:", "", *names, "```"])
    pages["reference/commands/index"] = (
        INTRODUCTION + "| command | what it does |\n|---|---|\n" + "\n".join(items) + f"\n\n{toctree}\n"
    )
    return pages
