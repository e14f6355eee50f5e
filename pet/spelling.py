"""Names in different spellings: which ones mean the same, and how two that look alike differ.

Labels, columns and ids are written by many programs. All lookups of such names follow one rule. A name is found as it
is written. If that fails, it is found in another spelling that means the same: with accents composed or decomposed
(Unicode NFC and NFD), a whole number as a float (``1``, ``1.0``), a truth value in any case (``true``, ``True``). Case,
spaces and invisible characters are never ignored; messages show them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

_WHOLE_FLOAT = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+")
_TRUTH_VALUES = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"}
_MOST_SHOWN = 3  # characters in a message


def compose(text: str) -> str:
    """Return the text with accents composed (Unicode NFC).

    Examples
    --------
    >>> len("e\\u0301"), len(compose("e\\u0301"))
    (2, 1)
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def meaning(name: str) -> str:
    """Return a key that is the same for all spellings of a name.

    Examples
    --------
    >>> meaning("1.0"), meaning("True"), meaning("01"), meaning("e\\u0301") == meaning("\\u00e9")
    ('1', 'true', '01', True)
    """
    whole = _WHOLE_FLOAT.fullmatch(name)
    if whole:
        return "0" if whole[1] == "-0" else whole[1]
    return compose(_TRUTH_VALUES.get(name, name))


class Names:
    """Names that can be looked up in any spelling.

    Parameters
    ----------
    names : iterable of str

    Examples
    --------
    >>> names = Names(["0", "1"])
    >>> names.find("1.0"), names.find("one")
    ('1', None)
    """

    def __init__(self, names: Iterable[str] = ()):
        self._names: set[str] = set()
        self._first: dict[str, str] = {}  # by meaning
        self._several: set[str] = set()  # meanings of two or more names
        for name in names:
            self.add(name)

    def add(self, name: str) -> str | None:
        """Add a name. Return the name that was already there and means the same, or None."""
        key = meaning(name)
        before = name if name in self._names else self._first.get(key)
        if before is None:
            self._first[key] = name
        elif before != name:
            self._several.add(key)
        self._names.add(name)
        return before

    def find(self, name: str) -> str | None:
        """Return the name as it was added. None if it was not, or if two names mean the same and neither is exact."""
        if name in self._names:
            return name
        key = meaning(name)
        return None if key in self._several else self._first.get(key)


def match_all(names: Sequence[str], others: Sequence[str]) -> list[int] | None:
    """Return the position in `names` of each of the others. None if they are not the same names, in any spelling.

    Examples
    --------
    >>> match_all(["0.0", "1.0"], ["1", "0"])
    [1, 0]
    >>> match_all(["0", "1"], ["1", "2"]) is None
    True
    """
    known, positions = Names(names), {name: i for i, name in enumerate(names)}
    found = [known.find(other) for other in others]
    if len(others) != len(names) or set(found) != set(names):
        return None
    return [positions[name] for name in found if name is not None]


def fold(name: str) -> str:
    """Return a name without differences that people overlook: case, outer spaces, invisible characters, width.

    Only for suggestions.

    Examples
    --------
    >>> fold("\\ufeff Good\\u00a0")
    'good'
    """
    visible = (c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) not in ("Cf", "Cc"))
    return "".join(visible).strip().casefold()


def unlike(name: str, other: str) -> str:
    """Return the hard-to-see characters of a name that another name lacks, or an empty text.

    Examples
    --------
    >>> unlike("good\\u00a0", "good")
    'U+00A0 NO-BREAK SPACE'
    >>> unlike("Good", "good")
    ''
    """
    extra = [c for c in dict.fromkeys(name) if c not in other and (c.isspace() or not c.isascii())]
    if compose(name) == compose(other) and name != other:
        extra = [c for c in dict.fromkeys(name + other) if (c in name) != (c in other) and not c.isascii()]
    shown = [f"U+{ord(c):04X} {unicodedata.name(c, 'CONTROL CHARACTER')}" for c in extra[:_MOST_SHOWN]]
    return ", ".join(shown)
