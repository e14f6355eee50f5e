"""Suggestions for misspelled names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pet.spelling import fold, unlike
from pet.terminal import clean

_COMPARED = 500  # names
_LISTED = 50


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` if a known name is similar, else the list of known names.

    The comparison ignores case, surrounding spaces and invisible characters; the answer shows those that are
    hard to see.

    Examples
    --------
    >>> suggest("agnew", ["agnews", "yelp"])
    "did you mean 'agnews'?"
    >>> suggest("imdb", ["agnews", "yelp"])
    'known: agnews, yelp'
    """
    names = list(known)
    if not names:
        return "known: none"
    # Comparing takes time that grows with both lengths, and with the number of names.
    by_folded = {fold(other): other for other in reversed(names[:_COMPARED])}
    near = difflib.get_close_matches(fold(name), by_folded, n=3, cutoff=0.6) if len(name) < 100 else []
    if near:
        found = [by_folded[other] for other in near]
        hidden = unlike(name, found[0])
        return "did you mean " + " or ".join(map(repr, found)) + "?" + (f" (yours has {hidden})" if hidden else "")
    listed = ", ".join(map(clean, names[:_LISTED]))
    return f"known: {listed}" + (f", ... ({len(names)} in total)" if len(names) > _LISTED else "")
