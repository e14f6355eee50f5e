"""Read small text files from untrusted sources: with a size limit, as UTF-8, with one message per mistake."""

from __future__ import annotations

import os
from pathlib import Path

from pet.errors import PetError

MEGABYTE = 1_000_000


def read_bytes(path: Path, shown: str, limit: int) -> bytes:
    """Read a whole file.

    Parameters
    ----------
    path : the file
    shown : its name in messages
    limit : maximum size in bytes

    Raises
    ------
    PetError
        If it cannot be read or is larger.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise PetError(f"{shown}: cannot be read: {error.strerror or error}") from None
    if len(raw) > limit:
        raise PetError(f"{shown}: larger than {limit / MEGABYTE:g} MB, which is too large for this kind of file")
    return raw


def _open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting: a pipe that nobody writes to reads as empty instead of blocking forever."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if os.name != "nt":
        os.set_blocking(descriptor, True)
    return descriptor


def decode(raw: bytes, shown: str) -> str:
    """Decode UTF-8, with or without a byte-order mark.

    Raises
    ------
    PetError
        Naming the line and the byte that is not UTF-8.

    Examples
    --------
    >>> decode(b"caf\\xc3\\xa9", "note.txt")
    'café'
    """
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PetError(f"{shown}:{line}: byte {raw[error.start]:#04x} is not UTF-8; save the file as UTF-8") from None
