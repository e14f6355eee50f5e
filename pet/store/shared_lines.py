"""A file of JSON lines that several processes append to.

Each line is on the disk when `SharedLines.append` returns. If a process is killed while it writes, the next writer
removes the torn line. A lock file beside the file makes writers take turns.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pet.errors import PetError
from pet.store.disk import disk_errors
from pet.store.folders import sync_folder
from pet.store.json_reader import parse_json
from pet.store.lock import locked

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_BLOCK = 1 << 16


class SharedLines:
    """Appends lines to a file, and reads those that other processes have appended.

    Parameters
    ----------
    path : the file, which need not exist

    Attributes
    ----------
    tail : what the file had after its last line break at the last `read`

    Examples
    --------
    >>> lines = SharedLines(Path("log.jsonl"))
    >>> with lines.exclusive():
    ...     lines.append(['{"id": "a"}'])
    >>> lines.read()
    [(1, '{"id": "a"}')]
    """

    def __init__(self, path: Path):
        self.path = path
        self.tail = b""
        self._offset = 0  # of the first byte that was not read yet
        self._number = 0  # of lines that were read
        self._file: tuple[int, int] | None = None

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other writers out during the block, and repair the end of the file.

        Raises
        ------
        PetError
            If the file is a link, ends like no file of JSON objects, or cannot be written, or another process does not
            release its lock.
        """
        if self.path.is_symlink():
            raise PetError(f"{self.path}: is a link; name the file itself")
        with disk_errors(f"write {self.path}", paths=True), locked(self.path.with_name(f".{self.path.name}.lock")):
            self._repair()
            yield

    def append(self, lines: Sequence[str]) -> None:
        """Append lines and wait until they are on the disk. Call it in an `exclusive` block.

        Either all of them are written, or none.
        """
        content = "".join(f"{line}\n" for line in lines).encode("utf-8")
        is_new = not self.path.exists()
        descriptor = os.open(self.path, _FLAGS, 0o666)
        try:
            before = os.fstat(descriptor).st_size
            try:
                written = 0
                while written < len(content):
                    written += os.write(descriptor, content[written:])
                os.fsync(descriptor)
            except BaseException:
                os.ftruncate(descriptor, before)
                raise
        finally:
            os.close(descriptor)
        if is_new:
            sync_folder(self.path.parent)

    def read(self) -> list[tuple[int, str]]:
        """Return number and text of the complete lines since the last call; blank ones are left out.

        Raises
        ------
        PetError
            If the file cannot be read, is not UTF-8, or was replaced by another file.
        """
        if not self.path.exists() and not self._offset:
            return []
        with disk_errors(f"read {self.path}", paths=True), self.path.open("rb") as stream:
            about = os.fstat(stream.fileno())
            if about.st_size < self._offset or self._file not in (None, (about.st_dev, about.st_ino)):
                raise PetError(f"{self.path}: another program has replaced the file; start again")
            self._file = about.st_dev, about.st_ino
            stream.seek(self._offset)
            content = stream.read()
        complete = content[: content.rfind(b"\n") + 1]
        self.tail = content[len(complete) :]
        found = []
        for number, line in enumerate(complete.split(b"\n")[:-1], self._number + 1):
            text = decoded(line, f"{self.path}:{number}").strip()
            found += [(number, text)] if text else []
        self._offset += len(complete)
        self._number += complete.count(b"\n")
        return found

    def _repair(self) -> None:
        """Remove a line that was not written to its end. A complete last line only gets its line break."""
        if not self.path.exists():
            return
        descriptor = os.open(self.path, _FLAGS)
        try:
            start, tail = _tail(descriptor)
            if not tail:
                return
            if is_complete(tail):
                os.write(descriptor, b"\n")
            elif tail.strip(b"\0")[:1] in (b"{", b""):  # after a power failure, zeros may stand for what was written
                os.ftruncate(descriptor, start)
            else:  # somebody else's file, such as a table
                raise PetError(f"{self.path}: its last line is not JSON, so nothing is added to it; name another file")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def decoded(line: bytes, place: str) -> str:
    """Return the text of a line; a `PetError` if it is not UTF-8."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        raise PetError(f"{place}: is not UTF-8; remove the line") from None


def is_complete(tail: bytes) -> bool:
    """Return True if the end of a file, without a line break, is all of a line."""
    try:
        return isinstance(parse_json(tail.decode("utf-8"), "", ""), dict)
    except (UnicodeDecodeError, PetError):
        return False


def _tail(descriptor: int) -> tuple[int, bytes]:
    """Return place and content of what follows the last line break."""
    start = os.fstat(descriptor).st_size
    tail = b""
    while start:
        size = min(_BLOCK, start)
        os.lseek(descriptor, start - size, os.SEEK_SET)
        block = os.read(descriptor, size)
        cut = block.rfind(b"\n") + 1
        if cut:
            return start - size + cut, block[cut:] + tail
        tail, start = block + tail, start - size
    return 0, tail
