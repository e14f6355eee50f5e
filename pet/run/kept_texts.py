"""Texts that were passed in Python, kept in the folder of the run so that it can be opened later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pet.run.settings import MEMORY, RunSettings
from pet.store.files import writing
from pet.store.folders import make_folders
from pet.task.task import Task

if TYPE_CHECKING:
    from datasets import Dataset

FOLDER = "texts"
_NAMES = ("train", "unlabeled", "test")


def keep_texts(folder: Path, task: Task, tables: Mapping[str, Dataset]) -> None:
    """Write tables as files with the columns that the task names, such as ``texts/unlabeled.jsonl``.

    Parameters
    ----------
    folder : run directory
    task : the task
    tables : ``train``, ``unlabeled``, or ``test`` -> table in memory
    """
    make_folders(folder / FOLDER)
    for name, table in tables.items():
        with writing(_file(folder, name), follow=False) as place, open(place, "x", encoding="utf-8") as stream:
            for row in table:
                stream.write(json.dumps(_line(row, task), ensure_ascii=False) + "\n")


def with_kept_texts(settings: RunSettings, folder: Path) -> RunSettings:
    """Return the settings of a run with the files in its folder instead of texts that were passed in Python.

    Examples
    --------
    >>> from pet.run.load_run import read_settings
    >>> settings = read_settings("runs/reviews")  # a run of files
    >>> with_kept_texts(settings, Path("runs/reviews")) == settings
    True
    """
    kept: dict[str, Any] = {
        name: str(_file(folder, name))
        for name in _NAMES
        if str(getattr(settings, name)).startswith(MEMORY) and _file(folder, name).is_file()
    }
    return replace(settings, **kept)


def _file(folder: Path, name: str) -> Path:
    return folder / FOLDER / f"{name}.jsonl"


def _line(row: Mapping[str, Any], task: Task) -> dict[str, Any]:
    values: dict[str, Any] = {name: row[name] for name in ("id", *task.fields)}
    if "label" in row:
        given = row["label"]
        values["label"] = (
            [label for label, own in zip(task.labels, given, strict=True) if own]
            if task.multi_label
            else task.labels[given]
        )
    return {task.columns.get(name, name): value for name, value in values.items()}
