"""Text for terminals: display width, and escapes for control characters."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import IO

# Characters that change what a terminal or a page shows without being seen themselves: C0 and C1 controls, the soft
# hyphen, zero-width characters, those that reverse the reading order, line and paragraph separators, invisible
# operators, the byte order mark, interlinear and musical controls, language tags, and lone surrogates.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001-\U000e007f]"
)
_BREAK = re.compile("[\t\n\r\u2028\u2029]")


def visible(text: str, keep: str = "\n\t") -> str:
    r"""Return text with every control or invisible character, except those in `keep`, as an escape.

    Examples
    --------
    >>> print(visible("red \x1b[31m, \u202ereversed"))
    red \x1b[31m, \u202ereversed
    """
    return _HIDDEN.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def _escape(character: str) -> str:
    return f"\\x{ord(character):02x}" if character < "\x80" else character.encode("ascii", "backslashreplace").decode()


def clean(text: str) -> str:
    """Return text as one line that is safe for a terminal: line breaks and tabs become spaces; see `visible`."""
    return visible(_BREAK.sub(" ", text), keep="")


def counted(number: int, noun: str) -> str:
    """Return a number and a noun in its singular or plural.

    Examples
    --------
    >>> counted(1, "text"), counted(2, "text")
    ('1 text', '2 texts')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def json_visible(document: str) -> str:
    r"""Return an equal JSON document in which the characters that `visible` escapes have JSON's own escapes.

    Examples
    --------
    >>> print(json_visible('{"text": "\u202eabc"}'))
    {"text": "\u202eabc"}
    """
    return _HIDDEN.sub(lambda found: found[0] if found[0] in "\n\t" else _json_escape(found[0]), document)


def _json_escape(character: str) -> str:
    return f"\\u{ord(character):04x}" if character <= "\uffff" else json.dumps(character)[1:-1]


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
