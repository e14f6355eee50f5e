"""How a text file holds a table: the options that a user can give, and the notice about what was detected."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from pet.errors import Notice, PetError

QUOTINGS = ("standard", "none")
_NAMED_DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}


class TableNotice(Notice):
    """A file is read differently than its name suggests, because of its content."""


@dataclass(frozen=True)
class TableFormat:
    """How to read CSV and TSV files, and the encoding of text files. None: detect it.

    Parameters
    ----------
    delimiter : str, optional
        The character between columns, or its name: ``tab``, ``comma``, ``semicolon``, ``pipe``, ``space``.
    encoding : str, optional
        Encoding of the text, such as ``utf-8``, ``cp1252`` or ``utf-16-le``; also for JSON lines.
    quoting : {"standard", "none"}, optional
        ``standard``: a value in double quotes may contain delimiters and line breaks; quotes inside it are doubled.
        ``none``: quotes are ordinary characters, and each line is a row.

    Raises
    ------
    PetError
        Naming every option that is not one of these.

    Examples
    --------
    >>> TableFormat(delimiter="tab", encoding="Windows-1252")
    TableFormat(delimiter='\\t', encoding='cp1252', quoting=None)
    """

    delimiter: str | None = None
    encoding: str | None = None
    quoting: str | None = None

    def __post_init__(self) -> None:
        problems = []
        if self.delimiter is not None:
            delimiter = _NAMED_DELIMITERS.get(self.delimiter.lower(), self.delimiter)
            if len(delimiter) != 1 or not delimiter.isascii() or delimiter.isalnum() or delimiter in '"\r\n\0':
                problems.append(
                    f"--delimiter {self.delimiter!r:.20}: must be one character that is not a letter, digit, quote or "
                    "line break, or tab, comma, semicolon, pipe or space"
                )
            object.__setattr__(self, "delimiter", delimiter)
        if self.encoding is not None:
            name = _codec(self.encoding)
            if name is None:
                problems.append(
                    f"--encoding {self.encoding!r:.40}: is not an encoding that Python knows; examples are utf-8, "
                    "utf-16, cp1252 (Western European spreadsheets), cp1251, gb18030, shift_jis"
                )
            object.__setattr__(self, "encoding", name)
        if self.quoting not in (None, *QUOTINGS):
            problems.append(f"--quoting {self.quoting!r:.20}: must be {' or '.join(QUOTINGS)}")
        if problems:
            raise PetError(problems)

    def to_dict(self) -> dict[str, str]:
        """Return the options that were given; the keyword arguments of a `TableFormat`."""
        return {name: value for name, value in vars(self).items() if value is not None}


def _codec(name: str) -> str | None:
    """Return Python's name of a text encoding, or None if it is unknown."""
    try:
        found = codecs.lookup(name)
        "".encode(found.name)  # fails for codecs that do not encode text, such as base64
    except (LookupError, ValueError):
        return None
    return "utf-8" if found.name == "utf-8-sig" else found.name


DETECT = TableFormat()  # detects everything
