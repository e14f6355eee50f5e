"""Text as YAML scalars, for task files that the package writes."""

from __future__ import annotations

import re

import yaml

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9]*([ _/-][A-Za-z0-9]+)*")


def yaml_scalar(text: str) -> str:
    """Return a YAML scalar that every reader takes for this text, without quotes if that is safe.

    Examples
    --------
    >>> yaml_scalar("Sci/Tech"), yaml_scalar("no")
    ('Sci/Tech', '"no"')
    """
    if _PLAIN.fullmatch(text) and len(text) < 60 and yaml.safe_load(text) == text:
        return text
    return yaml_quoted(text)


def yaml_quoted(text: str) -> str:
    """Return a YAML scalar in double quotes, on one line, for any text."""
    dumped: str = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=1 << 30)
    return dumped.removesuffix("\n")


def yaml_list(texts: list[str]) -> str:
    """Return a YAML list on one line."""
    return f"[{', '.join(map(yaml_scalar, texts))}]"
