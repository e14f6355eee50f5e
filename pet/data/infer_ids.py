"""Guess which column of a file holds the ids of its rows."""

from __future__ import annotations

import re
from collections.abc import Iterable

LONGEST_ID = 100  # characters
_ID_NAME = re.compile(r"(?i:(?:^|.*[\W_])(?:id|ids|idx|guid|uid|uuid|key|nr|no|number|ref))|.*[a-z](?:ID|Id)")
_CODE = re.compile(r"[A-Za-z]+[-_#/:]?\d[\w-]*")  # such as T-1001


class IdProfile:
    """Whether the values of a column could be ids: none is missing, and none appears twice."""

    def __init__(self) -> None:
        self._seen: set[int] | None = set()  # hashes; None after the first value that rules it out
        self._coded = True

    def add(self, value: str) -> None:
        """Add the value of the next row."""
        if self._seen is None:
            return
        key = hash(value)
        if key in self._seen or len(value) > LONGEST_ID or not value or any(char.isspace() for char in value):
            self._seen = None
            return
        self._seen.add(key)
        self._coded = self._coded and _CODE.fullmatch(value) is not None

    def could_be(self, name: str, rows: int) -> bool:
        """Return True if the column has a different value in each of the rows, and looks like one of ids.

        Its name must say so (``ticket_no``, ``docId``), or all values must be codes (``T-1001``).
        """
        unique = self._seen is not None and len(self._seen) == rows > 1
        return unique and (self._coded or _ID_NAME.fullmatch(name.strip()) is not None)


def guess_id(profiles: Iterable[tuple[str, IdProfile]], rows: int) -> str | None:
    """Return the first column that looks like ids, columns with the name of an id first; None if there is none."""
    found = [name for name, profile in profiles if profile.could_be(name, rows)]
    named = [name for name in found if _ID_NAME.fullmatch(name.strip())]
    return next(iter([*named, *found]), None)
