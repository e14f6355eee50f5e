"""Print results and messages, with control characters in texts as escapes."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from pet.errors import Notice
from pet.terminal import is_utf8, json_visible, visible


def echo(text: str, *, err: bool = False) -> None:
    """Print text with control characters as escapes. Every command prints with this function or `echo_json`."""
    click.echo(visible(text), err=err)


def echo_json(document: Any) -> None:
    """Print one JSON document on standard output."""
    click.echo(json_visible(json.dumps(document, indent=2, ensure_ascii=not is_utf8(sys.stdout))))


def echo_file(text: str) -> None:
    """Print the content of a file: unchanged to a file or a pipe, like `echo` to a terminal."""
    click.echo(visible(text) if sys.stdout.isatty() else text, nl=False)


class _Record(logging.LogRecord):
    """A log record whose message is safe for a terminal."""

    def getMessage(self) -> str:
        return visible(super().getMessage())


@contextmanager
def visible_messages() -> Iterator[None]:
    """Apply `visible` to usage errors, log messages and warnings of all libraries while a command runs."""
    record, format_warning = logging.getLogRecordFactory(), warnings.formatwarning

    noticed: set[str] = set()

    def formatted(message: Warning | str, category: type[Warning], *args: Any, **options: Any) -> str:
        if issubclass(category, Notice):  # printed once, without the line of code
            first = str(message) not in noticed
            noticed.add(str(message))
            return visible(str(message)) + "\n" if first else ""
        return visible(format_warning(message, category, *args, **options))

    logging.setLogRecordFactory(_Record)
    warnings.formatwarning = formatted
    try:
        yield
    except click.ClickException as error:
        vars(error)["message"] = visible(error.message)  # click declares it final
        raise
    finally:
        logging.setLogRecordFactory(record)
        warnings.formatwarning = format_warning
