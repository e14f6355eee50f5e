"""What workers need of a run, in files: settings, token ids and labels. The texts themselves are not needed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pet.cloze.ragged import Ragged
from pet.cloze.tokens import FieldKey
from pet.data.checks import column_labels
from pet.progress import Reporter
from pet.recipe import make_recipe
from pet.run.context import RunContext
from pet.run.execution.executor import clear_beside
from pet.run.init_prompt import STAGE as INIT_PROMPT
from pet.run.inputs import RunData
from pet.run.settings import RunSettings
from pet.store.build import disk_errors
from pet.store.directory import RunDirectory
from pet.store.files import TEMPORARY
from pet.task.task import Task
from pet.tuning.members import read_member

if TYPE_CHECKING:
    from datasets import Dataset

    from pet.cloze.tokens import TokenTable

_PARTS = ("train", "pool", "test")
_ABOUT = "run.json"


class Payload:
    """The files, written when they are first asked for."""

    def __init__(self) -> None:
        self._folder: Path | None = None

    def of(self, context: RunContext, threads: int | None) -> Path:
        """The folder in the run's own; `threads` as of `write_spool`."""
        if self._folder is None:
            self._folder = context.directory.path.absolute() / f"{TEMPORARY}payload@{uuid.uuid4().hex}"
            with disk_errors(f"write what workers need in {self._folder}"):
                self._folder.mkdir()
                write_spool(context, self._folder, threads)
        return self._folder

    def close(self) -> None:
        """Remove it, and what workers have left unfinished."""
        if self._folder is not None:
            clear_beside(self._folder.parent)
            self._folder = None


def write_spool(context: RunContext, folder: Path, threads: int | None) -> None:
    """Write what `read_spool` makes a context of.

    Parameters
    ----------
    context : the run
    folder : an empty one, in the run's folder
    threads : of each worker; None: as its libraries choose
    """
    parts: dict[str, Any] = {}
    for part in _PARTS:
        table: Dataset | None = getattr(context.data, part)
        if table is not None:
            keys = _write_tokens(context.tokens(part), folder / part)
            parts[part] = {"rows": len(table), "keys": keys}
    if context.data.train is not None:
        np.save(folder / "train" / "labels.npy", column_labels(context.data.train))
    about = {
        "directory": str(context.directory.path.absolute()),
        "config": context.directory.config,
        "recipe": context.recipe.to_dict(),
        "threads": threads,
        "parts": parts,
        "initial": context.initial is not None,
    }
    (folder / _ABOUT).write_text(json.dumps(about), encoding="utf-8")


def read_spool(folder: Path, reporter: Reporter) -> RunContext:
    """A context for `make_step`, with a directory that is not held and tables without texts."""
    about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    if about["threads"] is not None:
        torch.set_num_threads(about["threads"])
    parts: Mapping[str, Any] = about["parts"]
    tables: dict[str, Dataset | None] = dict.fromkeys(_PARTS)
    for part, what in parts.items():
        tables[part] = _rows(what["rows"], np.load(folder / part / "labels.npy") if part == "train" else None)
    settings = RunSettings.from_dict(about["config"]["settings"])
    return RunContext(
        settings,
        Task.from_dict(settings.task),
        make_recipe("default", about["recipe"]),
        RunData(**tables, report={}),
        RunDirectory(about["directory"], about["config"], reporter=reporter),
        reporter,
        initial=read_member(Path(about["directory"]) / INIT_PROMPT) if about["initial"] else None,
        token_tables={part: _read_tokens(folder / part, what["keys"]) for part, what in parts.items()},
    )


def _rows(count: int, labels: Any) -> Dataset:
    """A table of so many rows without texts."""
    import pyarrow as pa

    from pet.data.spill import dataset_of

    columns = {"row": pa.array(np.arange(count))} | ({} if labels is None else {"label": pa.array(labels, pa.int64())})
    batch = pa.RecordBatch.from_pydict(columns)
    return dataset_of([batch], batch.schema)


def _write_tokens(tokens: TokenTable, folder: Path) -> list[dict[str, Any]]:
    folder.mkdir()
    for number, ragged in enumerate(tokens.values()):
        np.save(folder / f"{number}-values.npy", ragged.values)
        np.save(folder / f"{number}-offsets.npy", ragged.offsets)
    return [asdict(key) for key in tokens]


def _read_tokens(folder: Path, keys: list[dict[str, Any]]) -> TokenTable:
    def array(name: str) -> Any:
        return np.load(folder / f"{name}.npy", mmap_mode="r")

    return {
        FieldKey(**{**key, "filters": tuple(key["filters"])}): Ragged(
            array(f"{number}-values"), array(f"{number}-offsets")
        )
        for number, key in enumerate(keys)
    }
