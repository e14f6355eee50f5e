"""The cure in a message about a name that does not exist: the names that do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggest(name: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?`` where a known name is near, else the list of known names.

    Case does not count when names are compared.
    """
    names = list(known)
    if not names:
        return "there are none"
    by_folded = {other.casefold(): other for other in reversed(names)}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(repr(by_folded[other]) for other in near) + "?"
    return "known: " + ", ".join(names)
