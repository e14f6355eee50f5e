"""Where a classifier is, what its folder says about it, and where results go. This module does not import torch."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from pet.data.source_names import file_of
from pet.data.table_options import TableOptions
from pet.errors import PetError
from pet.run.kept_texts import with_kept_texts
from pet.run.load_run import is_run, read_settings
from pet.run.settings import RunSettings
from pet.store.json_reader import read_json
from pet.store.outputs import check_output
from pet.store.tables import TABLE_ENDINGS

_NOTE = "pet.json"
ENSEMBLE = "ensemble.json"  # in a folder of `pet export --ensemble`


def check_place(place: Path) -> None:
    """Refuse a folder that contains no classifier, such as a run without one."""
    if is_exported_ensemble(place):
        raise PetError(f"{place}: holds an ensemble and no classifier; label texts with `pet label {place}`")
    if not place.is_dir() or (place / "config.json").is_file() or (place / "student").is_dir():
        return
    if is_run(place):
        settings = read_settings(place)
        if settings.method == "supervised":
            raise PetError(f"{place}: this run is unfinished; finish it with `pet run {place}/config.yaml`")
        why = "it is unfinished"
        if settings.method == "zero-shot":
            why = "it is zero-shot"
        elif settings.unlabeled is None:
            why = "it had no unlabeled texts"
        raise PetError(
            f"{place}: this run has no classifier ({why}); label texts with `pet label {place}`, and distill one from "
            "these labels with `pet distill`"
        )
    if any(place.glob("seed-*/config.yaml")):
        read_settings(place)  # raises an error that names the runs of the seeds


def is_exported_ensemble(place: Path) -> bool:
    """Return True if `pet export --ensemble` wrote a folder."""
    return (place / ENSEMBLE).is_file()


def check_destination(output: str | Path | IO[str], source: str, table: TableOptions) -> Path | IO[str]:
    """Return where a table goes: the path of a file that can be written, or a stream as it is."""
    if not isinstance(output, (str, Path)):
        return output
    return check_output(output, TABLE_ENDINGS, file_of(source), table.force)


def run_of(place: Path) -> Path | None:
    """Return the folder of a run, given it or its student; None for another classifier."""
    whole = place.absolute()  # the student may be given as "."
    folders = [whole, *([whole.parent] if whole.name == "student" and whole.is_dir() else [])]
    return next((folder for folder in folders if is_run(folder)), None)


def settings_of(place: Path) -> RunSettings | None:
    """Return the settings of the run that a folder is, or whose student is in it; None if there is no run."""
    run = run_of(place)
    return None if run is None else with_kept_texts(read_settings(run), run)


def classifier_folder(place: Path) -> Path:
    """Return the folder of a classifier, given it or its run."""
    student = place / "student"
    return student if (student / "config.json").is_file() else place


def fields_of(place: Path) -> list[str]:
    """Return the fields that a saved classifier reads: those in its pet.json, else ``text``."""
    note = classifier_folder(place) / _NOTE
    if not note.is_file():
        return ["text"]
    found = read_json(note, "copy it from the original folder")
    fields = found.get("fields") if isinstance(found, dict) else None
    return [str(field) for field in fields] if isinstance(fields, list) else ["text"]
