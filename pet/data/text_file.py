"""Bytes and encodings of text files: decompress, find the encoding, and read everything as UTF-8."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from pet.data.compressed import open_unpacked

BOM = codecs.BOM_UTF8
BLOCK = 8 << 20  # bytes
START_BYTES = 4096  # that show what a file is
_MARKS = (  # the mark of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_RARE = 20  # accidents: one valid UTF-8 character among this many bytes of another encoding
_WESTERN = 0.3  # share of letters outside ASCII in Western European text; Cyrillic or Greek text has more


class WrongText(Exception):
    """A text file that cannot be read.

    Attributes
    ----------
    line : int or None
        Line from 1, if the mistake has one.
    """

    def __init__(self, message: str, line: int | None = None):
        super().__init__(message)
        self.line = line


def open_bytes(path: Path, encoding: str = "utf-8") -> IO[bytes]:
    """Open a text file for reading as UTF-8 bytes; see `pet.data.compressed.open_unpacked`."""
    file = open_unpacked(path)
    return file if encoding == "utf-8" else io.BufferedReader(_Recoded(file, encoding))


class _Recoded(io.RawIOBase):
    """The UTF-8 bytes of a text in another encoding."""

    def __init__(self, file: IO[bytes], encoding: str):
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._ready = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._ready and not self._ended:
            chunk = self._file.read(io.DEFAULT_BUFFER_SIZE * 8)
            self._ended = not chunk
            self._ready = memoryview(self._decoder.decode(chunk, final=self._ended).encode("utf-8"))
        target = memoryview(buffer).cast("B")
        size = min(len(target), len(self._ready))
        target[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def close(self) -> None:
        self._file.close()
        super().close()


def line_blocks(file: IO[bytes], block: int) -> Iterator[bytes]:
    """Yield blocks of whole lines, without the byte order mark; the last line may lack its line break."""
    rest, first = [], True
    while chunk := file.read(block):
        if first:
            chunk, first = chunk.removeprefix(BOM), False
        cut = chunk.rfind(b"\n") + 1
        if not cut:
            rest.append(chunk)
            continue
        yield b"".join([*rest, chunk[:cut]])
        rest = [chunk[cut:]]
    yield b"".join(rest)


def marked_encoding(start: bytes) -> str | None:
    """Return the encoding that a byte order mark at the start of a file names; None without a mark.

    Examples
    --------
    >>> marked_encoding("text".encode("utf-16"))
    'utf-16'
    """
    if start.startswith(BOM):
        return "utf-8"
    return next((encoding for mark, encoding in _MARKS if start.startswith(mark)), None)


def refuse_wide(start: bytes) -> None:
    """Refuse text that is UTF-16 without a byte order mark, given the first bytes of a file."""
    even, odd = start[::2].count(0), start[1::2].count(0)
    if even + odd > len(start) / 5 and max(even, odd) > 2 * min(even, odd):
        likely = "utf-16-le" if odd > even else "utf-16-be"
        raise WrongText(f"seems to be UTF-16 without a byte order mark; add --encoding {likely}, or save it as UTF-8")


def check_encoding(path: Path, encoding: str) -> None:
    """Read a whole file in an encoding.

    Raises
    ------
    WrongText
        At the first line that cannot be decoded.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = 0
    with open_bytes(path) as file:
        ended = False
        while not ended:
            chunk = file.read(BLOCK)
            ended = not chunk
            try:
                lines += decoder.decode(chunk, final=ended).encode("utf-8").count(b"\n")
            except UnicodeDecodeError as error:
                lines += error.object[: error.start].decode(encoding, "ignore").count("\n")
                raise WrongText(
                    f"is not {encoding} (byte 0x{error.object[error.start]:02x}); give its encoding with --encoding",
                    lines + 1,
                ) from None
            except UnicodeError as error:
                raise WrongText(f"is not {encoding} ({error}); give its encoding with --encoding", lines + 1) from None


def is_in(path: Path, encoding: str) -> bool:
    """Return True if a whole file can be decoded."""
    try:
        check_encoding(path, encoding)
    except WrongText:
        return False
    return True


def is_utf8_beyond_ascii(path: Path) -> bool:
    """Return True if a file is UTF-8 with characters outside ASCII; text in other encodings almost never is."""
    if not is_in(path, "utf-8"):
        return False
    with open_bytes(path) as file:
        return not all(chunk.isascii() for chunk in iter(lambda: file.read(BLOCK), b""))


def eight_bit_encoding(path: Path) -> str:
    """Return the encoding of a file that is not UTF-8: cp1252, in which Western spreadsheets write CSV files.

    Raises
    ------
    WrongText
        If the file is UTF-8 except for a few lines, or does not look like Western European text.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    sound = broken = letters = high = 0
    with open_bytes(path) as file:
        while chunk := file.read(BLOCK):
            text = decoder.decode(chunk)
            wide = len(text) - len(text.encode("ascii", "ignore"))
            wrong = text.count("\ufffd")
            broken, sound = broken + wrong, sound + wide - wrong
            plain = chunk.translate(None, bytes(range(128, 256)))
            high += len(chunk) - len(plain)
            letters += sum(map(str.isalpha, plain.decode("ascii")))
    if sound * _RARE <= broken and high <= _WESTERN * (high + letters) and is_in(path, "cp1252"):
        return "cp1252"
    raise _first_not_utf8(path)


def not_utf8(line: bytes, error: UnicodeDecodeError) -> str:
    """Return the message for a line that is not UTF-8."""
    byte = f"byte 0x{line[error.start]:02x} at position {error.start + 1}"
    return f"is not UTF-8 ({byte}); give its encoding with --encoding, or save the file as UTF-8"


def _first_not_utf8(path: Path) -> WrongText:
    """Return the error for the first line that is not UTF-8."""
    with open_bytes(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return WrongText(not_utf8(line, error), number)
    return WrongText("changed while it was read; run the command again")
