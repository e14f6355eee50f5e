"""Read a folder of text files: one text in each file, and a folder for each label."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from pet.data.compressed import COMPRESSED, BrokenFile, open_unpacked
from pet.data.source import Source, Unreadable
from pet.data.spill import SpillingBatches, batch_of
from pet.data.table_format import TableFormat, TableNotice
from pet.data.text_file import WrongText, marked_encoding, refuse_wide
from pet.data.values import is_unicode
from pet.errors import PetError
from pet.store.tree import check_inside

ENDING = ".txt"
LARGEST = 64 << 20  # bytes of a text
ROWS_AT_ONCE = 256
_MOST_PROBLEMS = 10
SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string()), ("label", pa.string())])


def text_files(folder: Path) -> tuple[list[Path], int]:
    """Return the text files of a folder and of the folders in it, sorted by name; and how many files are others."""
    levels = [folder, *sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))]
    found, others = [], 0
    for level in levels:
        files = sorted(path for path in level.iterdir() if path.is_file() and not path.name.startswith("."))
        texts = [path for path in files if _is_text(path)]
        found += texts
        others += len(files) - len(texts) + (level is not folder) * sum(path.is_dir() for path in level.iterdir())
    return found, others


def _is_text(path: Path) -> bool:
    name = path.name.lower()
    return name.endswith((ENDING, *(f"{ENDING}{suffix}" for suffix in COMPRESSED)))


def open_text_folder(folder: Path, files: Sequence[Path], others: int, name: str, table_format: TableFormat) -> Source:
    """Read text files as a table: ``id`` is the path in the folder, ``label`` the name of the folder of a file.

    Files that are not in a folder of their own have no label.

    Parameters
    ----------
    folder : the folder
    files, others : from `text_files`
    name : what messages call this input
    table_format : its encoding; default: UTF-8, or what a byte order mark says

    Raises
    ------
    PetError
        Naming a file that is not text or whose name is not UTF-8, or a link that leads out of the folder.
    """
    check_inside(folder, "folder of texts")
    _check_names(folder, files, name)
    if others:
        notice = f"{name}: {folder}: {others} files and folders that are not {ENDING} files are left out"
        warnings.warn(TableNotice(notice), stacklevel=3)
    store = SpillingBatches(SCHEMA, None, name)
    for start in range(0, len(files), ROWS_AT_ONCE):
        part = files[start : start + ROWS_AT_ONCE]
        store.add(batch_of(list(_rows(folder, part, name, table_format.encoding)), SCHEMA))
    return Source("texts", os.fspath(folder), tuple(files), store.finish())


def _check_names(folder: Path, files: Sequence[Path], name: str) -> None:
    """Refuse names that are not UTF-8: they become ids and labels."""
    wrong = [file for path in files if not is_unicode(file := path.relative_to(folder).as_posix())]
    problems = [
        f"{name}: {folder}: the name {os.fsencode(file).decode('utf-8', 'backslashreplace')} is not UTF-8; rename it"
        for file in wrong[:_MOST_PROBLEMS]
    ]
    if len(wrong) > _MOST_PROBLEMS:
        problems.append(f"{name}: {folder}: {len(wrong) - _MOST_PROBLEMS} more such names")
    if problems:
        raise PetError(problems)


def _rows(
    folder: Path, files: Sequence[Path], name: str, encoding: str | None
) -> Iterator[tuple[str, str, str | None]]:
    for path in files:
        try:
            text = _read(path, encoding)
        except (Unreadable, WrongText, BrokenFile) as error:
            raise PetError(f"{name}: {path}: {error}") from None
        except OSError as error:
            raise PetError(f"{name}: {path}: cannot be opened ({error.strerror}); check the permissions") from None
        yield path.relative_to(folder).as_posix(), text, None if path.parent == folder else path.parent.name


def _read(path: Path, encoding: str | None) -> str:
    with open_unpacked(path) as file:
        raw = file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise Unreadable(f"is larger than {LARGEST >> 20} MB, which is no text to classify; split it, or remove it")
    marked = marked_encoding(raw)
    if encoding is None and marked is None:
        refuse_wide(raw[:4096])
    known = encoding or marked or "utf-8"
    try:
        text = raw.decode("utf-8-sig" if known == "utf-8" else known)
    except UnicodeDecodeError as error:
        raise Unreadable(
            f"is not {known} (byte 0x{raw[error.start]:02x} at {error.start}); give its encoding with --encoding"
        ) from None
    if "\0" in text:
        raise Unreadable("contains a NUL byte: the file is damaged, or not text; correct or remove it")
    return text.strip()
