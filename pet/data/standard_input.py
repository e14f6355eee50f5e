"""Read a table from standard input: keep it in a temporary file, and tell its format from its first bytes."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import IO

from pet.data.compressed import COMPRESSED, BrokenFile, open_unpacked
from pet.data.spill import no_room
from pet.data.text_file import START_BYTES, marked_encoding
from pet.errors import PetError
from pet.store.temporary import Scratch

SHOWN = "standard input"
_STARTS = {
    b"PAR1": ".parquet",
    b"PK\x03\x04": ".xlsx",
    b"ARROW1": ".arrow",
    b"\xff\xff\xff\xff": ".arrow",
    b"\x1f\x8b": ".gz",
    b"BZh": ".bz2",
    b"\xfd7zXZ\0": ".xz",
    b"\x28\xb5\x2f\xfd": ".zst",
}
# Commands open a table several times. The stream is kept to tell whether another one has taken its place.
_kept: list[tuple[object, Scratch, Path]] = []


def spool(name: str) -> Path:
    """Return a file with all of standard input; its name ends as its format requires.

    Raises
    ------
    PetError
        If nothing is piped in, or the disk for temporary files is full.
    """
    if _kept and _kept[0][0] is sys.stdin:
        return _kept[0][2]
    if sys.stdin is None or sys.stdin.isatty():
        raise PetError(f"{name}: - stands for {SHOWN}, but nothing is piped in; name a file, or use COMMAND | pet ...")
    folder = Scratch()
    path = folder.path / "input"
    try:
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
    except OSError as error:
        folder.close()
        raise no_room(name, folder.path.parent, error) from None
    path = _with_suffix(path)
    _kept[:] = [(sys.stdin, folder, path)]
    return path


def _with_suffix(path: Path) -> Path:
    """Rename a file as its content requires, and return its new path."""
    with path.open("rb") as file:
        suffix = _suffix(file)
    path = path.rename(path.with_suffix(suffix))
    if suffix not in COMPRESSED:
        return path
    try:
        with open_unpacked(path) as file:
            inner = _suffix(file)
    except BrokenFile:
        inner = ".csv"  # named when it is opened
    return path.rename(path.with_suffix(f"{inner}{suffix}"))


def _suffix(file: IO[bytes]) -> str:
    start = file.read(START_BYTES)
    for mark, suffix in _STARTS.items():
        if start.startswith(mark):
            return suffix
    text = start.decode(marked_encoding(start) or "utf-8", "ignore").removeprefix("\ufeff").lstrip()
    if text.startswith("{"):
        return ".jsonl"
    line = text.partition("\n")[0]
    return ".tsv" if "\t" in line and "," not in line else ".csv"
