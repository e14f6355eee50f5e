"""Corrections that a run uses, kept in its folder: a review goes on, so its file grows after the run has read it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pet.progress import Reporter
from pet.resources import expand
from pet.run.inputs import RunData, corrections_fingerprint
from pet.run.load_run import is_run, read_settings
from pet.run.settings import RunSettings
from pet.store.directory import RunDirectory
from pet.store.files import hash_file
from pet.store.manifest import read_config

FOLDER = "corrections"


def keep_corrections(directory: RunDirectory, data: RunData) -> None:
    """Write the corrections as they were read, such as ``corrections/1.jsonl``."""

    def build(folder: Path) -> None:
        for number, content in enumerate(data.corrections, 1):
            (folder / f"{number}.jsonl").write_bytes(content)

    if data.corrections:
        directory.stage(FOLDER, {"corrections": corrections_fingerprint(data.corrections)}, build)


def kept_corrections(settings: RunSettings, folder: Path) -> dict[str, str]:
    """Return the sound copy of each file of corrections in the folder of a run; runs of earlier versions have none.

    Parameters
    ----------
    settings : of the run
    folder : run directory
    """
    recorded = (read_config(folder).get("hashes") or {}).get(FOLDER)
    hashes = recorded if isinstance(recorded, list) else [recorded]
    copies = {}
    for number, (file, known) in enumerate(zip(settings.correction_files, hashes, strict=False), 1):
        place = folder / FOLDER / f"{number}.jsonl"
        if place.is_file() and hash_file(place) == known:
            copies[file] = str(place)
    return copies


def with_copies(settings: RunSettings, copies: Mapping[str, str]) -> RunSettings:
    """Return the settings with copies instead of the files of corrections that have one.

    Examples
    --------
    >>> from pet.run.load_run import read_settings
    >>> settings = replace(read_settings("runs/reviews"), corrections=("a.jsonl", "b.jsonl"))
    >>> with_copies(settings, {"a.jsonl": "runs/reviews/corrections/1.jsonl"}).corrections
    ('runs/reviews/corrections/1.jsonl', 'b.jsonl')
    """
    return replace(settings, corrections=tuple(copies.get(file, file) for file in settings.correction_files))


def with_another(settings: RunSettings, file: str) -> tuple[str, ...]:
    """Return the files of corrections and one more, which counts last; if it is one of them, it is not repeated."""
    place = os.path.realpath(expand(file))
    return (*(other for other in settings.correction_files if os.path.realpath(expand(other)) != place), file)


def copies_to_resume(settings: RunSettings, output: Path, reporter: Reporter) -> dict[str, str]:
    """Return the copies that a run reads when it is resumed, so that its result is that of a run that never stopped.

    A warning names files that have changed since. A file without a sound copy is read again; the run directory refuses
    it if it differs.

    Parameters
    ----------
    settings : of the command
    output : run directory, which need not exist
    reporter : gets the warning
    """
    if not settings.correction_files or not is_run(output):
        return {}
    there = read_settings(output)
    if there.to_dict()["corrections"] != settings.to_dict()["corrections"]:
        return {}
    copies = kept_corrections(there, output)
    for file, copy in copies.items():
        if not expand(file).is_file() or hash_file(expand(file)) != hash_file(copy):
            reporter.warn(
                f"{file}: has changed since the run {output} began, which goes on with its copy ({copy}); to train "
                "with what was decided since, choose another folder with -o"
            )
    own = dict(zip(there.correction_files, settings.correction_files, strict=True))
    return {own[file]: copy for file, copy in copies.items()}
