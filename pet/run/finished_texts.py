"""The texts of a finished run, read again, and whether they are still those that it read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pet.data.source_names import file_of
from pet.errors import PetError
from pet.progress import Reporter
from pet.run.inputs import RunData, corrections_fingerprint, file_fingerprint, load_data, source_fingerprint
from pet.run.kept_corrections import FOLDER, kept_corrections, with_copies
from pet.run.kept_texts import with_kept_texts
from pet.run.settings import RunSettings
from pet.store.manifest import CONFIG, read_config
from pet.task.task import Task

_PARTS = {"train": "train", "unlabeled": "pool", "test": "test"}  # option -> part


def read_texts(
    folder: Path, settings: RunSettings, task: Task, reporter: Reporter, parts: Collection[str] = tuple(_PARTS)
) -> RunData:
    """Read the texts of a run again: what it has kept from its folder, and the others from their files.

    Parameters
    ----------
    folder : run directory
    settings, task : of the run
    reporter : gets warnings
    parts : which of ``train`` (with the corrections), ``unlabeled``, and ``test`` to read

    Raises
    ------
    PetError
        If a file is not where it was, or not as it was.
    """
    kept = with_copies(with_kept_texts(settings, folder), kept_corrections(settings, folder))
    read = [option for option in parts if option != "train" or not kept.texts.nothing_labeled]
    sources = {option: getattr(kept, option) for option in read}
    gone = {option: source for option, source in sources.items() if source is not None and _is_gone(source)}
    if gone:
        raise PetError(
            [
                f"{option}: {source}: no such file, which the run {folder} read; put it back, or write its new path "
                f"after `{option}:` in {folder / CONFIG} (`pet run` then trains again)"
                for option, source in gone.items()
            ]
        )
    return load_data(kept, task, reporter, parts=parts)


def _is_gone(source: str) -> bool:
    file = file_of(source)  # runs note absolute paths; that of a hub data set is not
    return file.is_absolute() and not file.exists()


def changed_sources(folder: Path, settings: RunSettings, data: RunData) -> list[str]:
    """Return which of ``corrections``, ``train``, ``unlabeled``, and ``test`` differ from what the run read.

    Parameters
    ----------
    folder, settings : as for `read_texts`
    data : from `read_texts`; what it does not have is not compared
    """
    recorded = _recorded(folder)
    found: dict[str, Any] = {FOLDER: corrections_fingerprint(data.corrections)}
    for option, part in _PARTS.items():
        found[option] = source_fingerprint(getattr(settings, option), getattr(data, part))
    return [option for option, hashed in found.items() if hashed is not None and hashed != recorded.get(option)]


def check_pool(folder: Path, settings: RunSettings, task: Task, reporter: Reporter) -> None:
    """Refuse unlabeled texts that are not as the run read them, without reading a file as a table.

    The parameters are those of `read_texts`, the errors those of `check_sources`.
    """
    if settings.unlabeled is None:
        return
    found = file_fingerprint(settings.unlabeled)
    if found is None:  # the hash is that of the texts, without those that left the pool
        check_sources(folder, settings, read_texts(folder, settings, task, reporter, ["train", "unlabeled"]))
    elif found != _recorded(folder).get("unlabeled"):
        raise _changed(folder, settings, "unlabeled")


def check_sources(folder: Path, settings: RunSettings, data: RunData) -> None:
    """Refuse texts that are not as the run read them; for the parameters see `changed_sources`.

    Raises
    ------
    PetError
        Naming the file, or the files of corrections.
    """
    changed = changed_sources(folder, settings, data)
    if changed:
        raise _changed(folder, settings, changed[0])  # the others may differ only because of it


def _recorded(folder: Path) -> Mapping[str, Any]:
    return read_config(folder).get("hashes") or {}


def _changed(folder: Path, settings: RunSettings, option: str) -> PetError:
    files, verb = getattr(settings, option), "the file has"
    if option == FOLDER:
        files, verb = ", ".join(settings.correction_files), "the corrections have"
    return PetError(
        f"{files}: {verb} changed since the run; restore what it read, or repeat it with "
        f"`pet run {folder / CONFIG} -o NEW`"
    )
