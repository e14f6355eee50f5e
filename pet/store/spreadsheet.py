"""Cells of CSV and TSV files that a spreadsheet would run as a formula."""

from __future__ import annotations

import re

MARK = "' "  # people do not start a text with an apostrophe, a space and a sign

# What a spreadsheet takes for a formula: a sign (or its full-width form) followed by any character, but not a number.
_SIGNS = "=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20"
_FORMULA = re.compile(f"(?:{MARK})*[{_SIGNS}].", re.DOTALL)
_NUMBER = re.compile(r"[+-](?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")

# Pattern of a quoted cell and replacement that restores it, for libraries with RE2.
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


def changes(count: int, *, optional: bool = True) -> str:
    """Return the notice about the number of quoted cells; `optional`: the command has the option ``--as-is``."""
    hint = "; --as-is writes cells as they are" if optional else ""
    return (
        f"{count} {'cell begins' if count == 1 else 'cells begin'} like a formula (=, +, - or @); pet wrote {MARK!r} "
        f"before {'it' if count == 1 else 'them'} so that no spreadsheet runs {'it' if count == 1 else 'them'}, and "
        f"drops it on reading{hint}"
    )
