"""Cells of CSV and TSV files that a spreadsheet would run as a formula."""

from __future__ import annotations

import re

MARK = "' "  # an apostrophe and a space: no text of people starts with them and a sign

# What a spreadsheet takes for a formula: a sign, also a wide East Asian one, and something behind it. Numbers are none.
_SIGNS = "=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20"
_FORMULA = re.compile(f"(?:{MARK})*[{_SIGNS}].", re.DOTALL)
_NUMBER = re.compile(r"[+-](?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")

# A quoted cell, for libraries with RE2, and what it stands for.
QUOTED, ORIGINAL = f"(?s)^{MARK}((?:{MARK})*[{_SIGNS}].)", r"\1"


def quoted(text: str) -> str:
    r"""Return the text of a cell with `MARK` before it if a spreadsheet would take it for a formula.

    Examples
    --------
    >>> [quoted(text) for text in ("=1+100", "@user thanks", "-0.5", "good")]
    ["' =1+100", "' @user thanks", '-0.5', 'good']
    """
    return MARK + text if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def unquoted(text: str) -> str:
    """Return the text that `quoted` was given.

    Examples
    --------
    >>> unquoted("' =1+100"), unquoted("'tis")
    ('=1+100', "'tis")
    """
    return text.removeprefix(MARK) if text.startswith(MARK) and _FORMULA.match(text) else text


def changes(count: int) -> str:
    """Say that so many cells were quoted."""
    return (
        f"{count} {'cell begins' if count == 1 else 'cells begin'} like a formula (=, +, - or @); pet wrote {MARK!r} "
        "before it so that no spreadsheet runs it, and drops it on reading; --as-is writes cells as they are"
    )
