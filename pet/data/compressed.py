"""Unpack compressed text files while they are read, and refuse those that unpack to far more than they hold."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zlib
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

MOST_FREE = 256 << 20  # bytes that any file may unpack to, and the longest line
MOST_TIMES = 200  # how many times its size a file may unpack to beyond that; text rarely exceeds 30
BUFFER = 128 << 10

_BROKEN = (EOFError, OSError, zlib.error, lzma.LZMAError, pa.ArrowException)
_NAMES = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}
COMPRESSED = tuple(_NAMES)


class BrokenFile(Exception):
    """A compressed file that cannot be unpacked; the message ends with the cure."""


def open_unpacked(path: Path) -> IO[bytes]:
    """Open a file for reading; unpack it if its name ends in one of `COMPRESSED`.

    Raises
    ------
    OSError
        If it cannot be opened.
    BrokenFile
        While reading, if it is truncated or broken, or unpacks to far more than text would.
    """
    suffix = path.suffix.lower()
    file = open(path, "rb")  # noqa: SIM115 - the caller closes it
    return io.BufferedReader(_Unpacked(file, suffix), BUFFER) if suffix in _NAMES else file


def _decompressor(file: IO[bytes], suffix: str) -> Any:
    if suffix == ".gz":
        return gzip.GzipFile(fileobj=file, mode="rb")
    if suffix == ".bz2":
        return bz2.BZ2File(file)
    if suffix == ".xz":
        return lzma.LZMAFile(file)
    return pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")


class _Unpacked(io.RawIOBase):
    """The unpacked bytes of a file, within limits."""

    def __init__(self, file: IO[bytes], suffix: str):
        self._file = file
        self._kind = _NAMES[suffix]
        self._stream = _decompressor(file, suffix)
        self._most = max(MOST_FREE, MOST_TIMES * os.fstat(file.fileno()).st_size)
        self._total = self._line = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        target = memoryview(buffer).cast("B")
        try:
            block = self._stream.read(len(target))
        except _BROKEN as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BrokenFile(
                f"the {self._kind} file is truncated or broken ({reason}); download or compress it again"
            ) from None
        self._check(block)
        target[: len(block)] = block
        return len(block)

    def _check(self, block: bytes) -> None:
        """Refuse a file that is a decompression bomb."""
        self._total += len(block)
        last = block.rfind(b"\n")
        self._line = self._line + len(block) if last < 0 else len(block) - last - 1
        if self._total > self._most:
            what = f"the {self._kind} file unpacks to more than {MOST_TIMES} times its size"
        elif self._line > MOST_FREE:
            what = f"the {self._kind} file contains a line of more than {MOST_FREE >> 20} MB"
        else:
            return
        raise BrokenFile(f"{what}, which no table of texts does; unpack it yourself if you trust it")

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
            self._file.close()
        super().close()
