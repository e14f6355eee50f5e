"""Text for terminals: display width, and removal of control characters."""

from __future__ import annotations

import unicodedata
from typing import IO


def clean(text: str) -> str:
    """Return text as one line that is safe for a terminal: control characters and line breaks become spaces."""
    # Cc: control; Cf: invisible (including those that reverse the reading order); Cs: lone
    # surrogates; Zl and Zp: line and paragraph separators.
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in text)


def display_width(text: str) -> int:
    """Return the number of columns of a line: two per wide East Asian character, none per combining mark."""
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def fit(text: str, width: int) -> str:
    """Truncate a line to `width` columns, ending it in "..." if truncated."""
    if display_width(text) <= width:
        return text
    room, kept = max(width - 3, 0), ""
    for character in text:
        room -= _columns(character)
        if room < 0:
            break
        kept += character
    return kept + "..."[: max(width, 0)]


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Pad a line with spaces to `width` columns; `right` aligns the text right."""
    spaces = " " * max(width - display_width(text), 0)
    return spaces + text if right else text + spaces


def is_utf8(stream: IO[str]) -> bool:
    """Whether a stream accepts all characters; in-memory streams do."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return encoding.lower().replace("-", "").replace("_", "") in ("utf8", "utf8sig")
