"""Open a data set that `datasets.Dataset.save_to_disk` has written, without running or mapping anything unchecked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pet.errors import PetError
from pet.store.json_reader import read_json
from pet.store.tree import check_inside

STATE, SPLITS = "state.json", "dataset_dict.json"
_CURE = "save the data set again"


def shards_of(folder: Path, name: str) -> tuple[Path, ...]:
    """Return the Arrow files of a saved data set, in order.

    Parameters
    ----------
    folder : a folder with `STATE` or `SPLITS`
    name : what messages call this input

    Raises
    ------
    PetError
        If the folder holds several splits, its files are missing or elsewhere, or rows were selected but not copied.
    """
    place = f"{name}: {folder}"
    if (folder / SPLITS).is_file():
        found = _value(folder / SPLITS, "splits")
        shown = ", ".join(str(split) for split in found[:20]) if isinstance(found, list) else "several splits"
        raise PetError(f"{place}: holds the splits {shown}; name the folder of one, as {folder}{'/'}SPLIT")
    check_inside(folder, "data set")
    if _value(folder / STATE, "_indices_data_files"):
        raise PetError(f"{place}: its rows are a selection that was not copied; {_CURE} after `flatten_indices()`")
    entries = _value(folder / STATE, "_data_files")
    names = [entry.get("filename") if isinstance(entry, dict) else None for entry in entries or ()]
    files = [folder / one for one in names if isinstance(one, str) and Path(one).name == one]
    if not files or len(files) < len(names) or not all(path.is_file() for path in files):
        raise PetError(f"{place}: {STATE} does not name the files of its rows; {_CURE}")
    return tuple(files)


def _value(path: Path, key: str) -> Any:
    found = read_json(path, _CURE)
    return found.get(key) if isinstance(found, dict) else None
