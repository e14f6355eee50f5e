"""Looking at where results shall go before any work is done."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pet.errors import PetError
from pet.store.files import TEMPORARY, disk_problem, make_folders, remove, sync_folder, sync_tree


def check_output(path: str | Path, endings: Sequence[str], source: str | None = None) -> Path:
    """A file that can be written.

    Parameters
    ----------
    path : the file
    endings : those that are known
    source : what will be read while it is written

    Raises
    ------
    PetError
        If its ending is not known, its folder is not there or may not be written to, it is a folder, or it
        is the input itself.
    """
    place = Path(path).expanduser()
    if place.suffix.lower() not in endings:
        raise PetError(f"{path}: results are written as {', '.join(endings)}; give the file one of these endings")
    if place.is_dir():
        raise PetError(f"{path}: is a folder; name a file in it")
    check_folder(place.parent)
    given = None if source is None else Path(source).expanduser()
    if given is not None and given.exists() and place.exists() and os.path.samefile(place, given):
        raise PetError(f"{path}: is the input itself; write the results to another file")
    return place


def check_folder(folder: Path) -> None:
    """Refuse a folder that is not there or may not be written to."""
    if not folder.is_dir():
        raise PetError(f"{folder}: there is no such folder; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PetError(f"{folder}: may not be written to; choose another folder")


def check_new_folder(path: str | Path) -> Path:
    """A folder that can be made, or is there and empty.

    Raises
    ------
    PetError
        If something is there already, or the folder that it goes into cannot be written to.
    """
    place = Path(path).expanduser()
    if place.is_dir():
        if any(place.iterdir()):
            raise PetError(f"{path}: is not empty; name a new folder, or delete this one first")
    elif place.exists() or place.is_symlink():
        raise PetError(f"{path}: is a file; name a new folder")
    parent = place.absolute().parent
    while not parent.exists():  # missing parents are made later
        parent = parent.parent
    check_folder(parent)
    return place


@contextmanager
def writing_folder(place: Path) -> Iterator[Path]:
    """An empty folder beside `place` that takes its name when the block ends well, and goes when it does not.

    Raises
    ------
    PetError
        When the disk is full or may not be written to.
    """
    beside = place.absolute().with_name(f"{TEMPORARY}{os.getpid()}-{place.name}")
    try:
        make_folders(beside.parent)
        remove(beside)
        os.mkdir(beside)
        yield beside
        sync_tree(beside)
        if place.is_dir():
            place.rmdir()  # it was empty; if it is no longer, this fails and what is there stays
        os.replace(beside, place)
        sync_folder(place.absolute().parent)
    except Exception as error:
        message = None if isinstance(error, PetError) else disk_problem(error, f"write {place}")
        if message is None:
            raise
        raise PetError(message) from error
    finally:
        remove(beside)
