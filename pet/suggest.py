"""Suggestions for misspelled names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` if a known name is similar, else the list of known names.

    The comparison ignores case.

    Examples
    --------
    >>> suggest("agnew", ["agnews", "yelp"])
    "did you mean 'agnews'?"
    >>> suggest("imdb", ["agnews", "yelp"])
    'known: agnews, yelp'
    """
    names = list(known)
    if not names:
        return "there are none"
    by_folded = {other.casefold(): other for other in reversed(names)}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(repr(by_folded[other]) for other in near) + "?"
    return "known: " + ", ".join(names)
