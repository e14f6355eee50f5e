"""Check where results go before any work is done, and write whole folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pet.errors import PetError
from pet.resources import expand
from pet.store.disk import disk_errors
from pet.store.folders import make_folders, remove, settle_tree, sync_folder
from pet.store.temporary import remove_leftovers, temporary_folder

REPLACED = ".old-"  # begins the name of a folder that is being replaced


def check_output(
    path: str | Path, endings: Sequence[str], source: str | Path | None = None, force: bool = False
) -> Path:
    """Return the path of an output file after checking that it can be written.

    Parameters
    ----------
    path : str or Path
    endings : sequence of str
        The supported ones.
    source : str or Path, optional
        The file or folder of the input, which is read while the output is written.
    force : bool
        Allow a file that exists; it will be replaced.

    Raises
    ------
    PetError
        If the ending is not supported, the folder does not exist or is read-only, the path is a folder, the input
        itself or a part of it, or there is a file already and `force` is False.
    """
    place = expand(path)
    if place.suffix.lower() not in endings:
        raise PetError(f"{path}: unknown format; {_named(endings)}")
    if place.is_dir():
        raise PetError(f"{path}: is a folder; name a file in it")
    if place.is_symlink() and not place.exists():
        raise PetError(f"{path}: is a link to a file that does not exist; name another file, or delete the link")
    check_folder(place.parent)
    remove_leftovers(place.parent)
    given = None if source is None else expand(source)
    if given is not None and given.exists() and place.exists() and os.path.samefile(place, given):
        raise PetError(f"{path}: is the input itself; write the results to another file")
    if given is not None and given.is_dir() and place.suffix.lower() == ".parquet" and given.samefile(place.parent):
        raise PetError(f"{path}: all Parquet files of this folder are the input; write the results to another folder")
    if place.is_file() and not force:  # a device or a pipe exists, too, and is written to
        raise PetError(f"{path}: already exists; name another file, or replace it with --force")
    return place


def _named(endings: Sequence[str]) -> str:
    if len(endings) == 1:
        return f"name the file with the ending {endings[0]}"
    return f"give the file one of the endings {', '.join(endings)}"


def check_folder(folder: Path) -> None:
    """Refuse a folder that does not exist or is read-only."""
    if not folder.is_dir():
        raise PetError(f"{folder}: no such folder; create it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PetError(f"{folder}: is read-only; choose another folder")


def check_new_folder(
    path: str | Path,
    *,
    force: bool = False,
    replaceable: Callable[[Path], bool] = lambda folder: False,
    option: str = "--force",
) -> Path:
    """Return the path of an output folder after checking that it can be created.

    Parameters
    ----------
    path : str or Path
    force : bool
        Allow a folder that is not empty, provided that it is `replaceable`.
    replaceable : callable
        Returns True if a folder contains only files that the same command writes.
    option : str
        What `force` is called on the command line.

    Raises
    ------
    PetError
        If it exists and may not be replaced, or the folder that it goes into is read-only.
    """
    place = expand(path)
    restore_folder(place)
    if place.is_dir():
        if any(place.iterdir()):
            _check_replaceable(path, force, replaceable(place), option)
    elif place.exists() or place.is_symlink():
        raise PetError(f"{path}: is a file; name a new folder")
    parent = _real(place).parent
    while not parent.exists():  # missing parents are created later
        parent = parent.parent
    check_folder(parent)
    remove_leftovers(parent)
    return place


def _check_replaceable(path: str | Path, force: bool, replaceable: bool, option: str) -> None:
    if replaceable and not force:
        raise PetError(f"{path}: already exists; name a new folder, or replace it with {option}")
    if not replaceable:
        why = ", and contains files that this command did not write" if force else ""
        raise PetError(f"{path}: is not empty{why}; name a new folder, or delete this one first")


@contextmanager
def writing_folder(place: Path, *, replace: bool = False) -> Iterator[Path]:
    """Write a folder; it appears under its name when the block ends without an error.

    Parameters
    ----------
    place : Path
    replace : bool
        Replace a folder that is not empty. The old one is complete until the new one is; see `put_in_place`.

    Yields
    ------
    Path
        An empty folder beside `place` to write to. It is removed if the block fails.

    Raises
    ------
    PetError
        If the disk is full, failing or not writable, or something else now has this name.
    """
    place, doing = _real(place), f"write {place}"
    with disk_errors(doing):
        with disk_errors(doing, paths=True):
            make_folders(place.parent)
        with temporary_folder(place.parent, place.name) as outside:
            beside = outside / place.name
            os.mkdir(beside)
            yield beside
            with disk_errors(doing, paths=True):
                settle_tree(beside)
                put_in_place(beside, place, replace=replace)


def put_in_place(made: Path, place: Path, *, replace: bool = False) -> None:
    """Rename a finished folder to its final name.

    With `replace`, a folder of that name is first renamed to ``.old-NAME`` and removed at the end. If the process is
    killed in between, `restore_folder` (called by `check_new_folder`) gives it its name back.

    Raises
    ------
    OSError
        If there is a folder of that name that is not empty and `replace` is False.
    """
    place = _real(place)
    old = place.with_name(f"{REPLACED}{place.name}")
    if place.is_dir():
        if replace and any(place.iterdir()):
            remove(old)
            os.replace(place, old)
        else:
            place.rmdir()  # fails, and removes nothing, if it is no longer empty
    try:
        os.replace(made, place)
    except OSError:
        restore_folder(place)
        raise
    sync_folder(place.parent)
    remove(old)


def restore_folder(place: Path) -> None:
    """Clean up after a `put_in_place` that was killed: keep the new folder if it exists, else restore the old one."""
    place = _real(place)
    old = place.with_name(f"{REPLACED}{place.name}")
    if old.is_symlink() or not old.is_dir():
        return
    if place.exists():
        remove(old)
    else:
        os.replace(old, place)


def _real(place: Path) -> Path:
    """Return the folder itself: the user's link to an output folder keeps pointing to it."""
    return Path(os.path.realpath(place))
