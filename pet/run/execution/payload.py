"""Files that pass a run to its workers: settings, token ids, labels, and texts if a member needs them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import torch

from pet.cloze.ragged import Ragged
from pet.cloze.tokens import FieldKey, TokenTable
from pet.data.pick import pick_columns
from pet.members.kinds import KINDS
from pet.members.spec import MemberSpec
from pet.members.texts import Texts
from pet.progress import Reporter
from pet.recipe import make_recipe
from pet.run.context import PARTS, RunContext, make_shared
from pet.run.execution.work import clear_beside
from pet.run.init_prompt import STAGE as INIT_PROMPT
from pet.run.inputs import RunData
from pet.run.settings import RunSettings
from pet.run.vectors import open_vectors
from pet.store.directory import RunDirectory
from pet.store.disk import disk_errors
from pet.store.folders import TEMPORARY
from pet.task.task import Task
from pet.tuning.members import read_member

_ABOUT = "run.json"
_TABLE = "table.arrow"


class Payload:
    """The files for workers, written on first use and removed by `close`."""

    def __init__(self) -> None:
        self._folder: Path | None = None

    def of(self, context: RunContext, threads: int | None) -> Path:
        """Return the folder of the files, inside the run directory. For `threads` see `write_payload`."""
        if self._folder is None:
            self._folder = context.directory.path.absolute() / f"{TEMPORARY}payload@{uuid.uuid4().hex}"
            with disk_errors(f"write the files for workers to {self._folder}"):
                self._folder.mkdir()
                write_payload(context, self._folder, threads)
        return self._folder

    def close(self) -> None:
        """Remove the files, and unfinished stages that workers left behind."""
        if self._folder is not None:
            clear_beside(self._folder.parent)
            self._folder = None


def write_payload(context: RunContext, folder: Path, threads: int | None) -> None:
    """Write the files that `read_payload` reads.

    Parameters
    ----------
    context : the run
    folder : an empty folder inside the run directory
    threads : number of threads per worker; None: its libraries' default
    """
    with_texts = any(KINDS[spec.kind].reads_texts for spec in context.specs)
    parts: dict[str, Any] = {}
    for part in filter(context.has, PARTS):
        texts = context.texts(part)
        (folder / part).mkdir()
        columns, primes = texts.table.column_names, part == "train" and context.recipe.priming.count
        if not (with_texts or primes):
            columns = [column for column in columns if column == "label"]
        _write_table(texts.table, columns, folder / part / _TABLE)
        parts[part] = _write_tokens(texts.tokens, folder / part)
    about = {
        "directory": str(context.directory.path.absolute()),
        "config": context.directory.config,
        "recipe": context.recipe.to_dict(),
        "specs": [asdict(spec) for spec in context.specs],
        "threads": threads,
        "parts": parts,
        "initial": context.shared.initial is not None,
    }
    (folder / _ABOUT).write_text(json.dumps(about), encoding="utf-8")


def read_payload(folder: Path, reporter: Reporter) -> RunContext:
    """Return the run context for `make_step`. Its run directory is not locked."""
    about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    if about["threads"] is not None:
        torch.set_num_threads(about["threads"])
    settings = RunSettings.from_dict(about["config"]["settings"])
    task, recipe = Task.from_dict(settings.task), make_recipe("default", about["recipe"])
    parts: Mapping[str, Any] = about["parts"]
    tables = {part: datasets.Dataset.from_file(str(folder / part / _TABLE)) for part in parts}
    data = RunData(train=tables.get("train"), pool=tables.get("pool"), test=tables.get("test"))
    shared = make_shared(settings, task, recipe, data)
    shared.models.info.fingerprint = about["config"]["hashes"]["model"]  # hashed by the main process
    if about["initial"]:
        shared.initial = read_member(Path(about["directory"]) / INIT_PROMPT)
    context = RunContext(
        settings=settings,
        task=task,
        recipe=recipe,
        data=data,
        specs=tuple(MemberSpec.from_dict(spec) for spec in about["specs"]),
        shared=shared,
        directory=RunDirectory(about["directory"], about["config"], reporter=reporter),
        reporter=reporter,
    )
    for part, keys in parts.items():
        context.put(part, Texts(tables[part], tokens=_read_tokens(folder / part, keys)))
    open_vectors(context)
    return context


def _write_table(table: datasets.Dataset, columns: list[str], path: Path) -> None:
    """Write columns of a table for memory-mapped reading. Without columns, write row numbers to keep its length."""
    if not columns:
        rows = pa.table({"row": pa.array(np.arange(len(table)))})
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_table(rows)
        return
    chosen = pick_columns(table, columns).with_format("arrow")
    with pa.OSFile(str(path), "wb") as sink:
        writer = None
        for batch in chosen.iter(batch_size=4096):
            writer = writer or pa.ipc.new_stream(sink, batch.schema)
            writer.write_table(batch)
        if writer is not None:
            writer.close()


def _write_tokens(tokens: TokenTable, folder: Path) -> list[dict[str, Any]]:
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
