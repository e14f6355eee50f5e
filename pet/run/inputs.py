"""Read, sample, and check the texts of a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pet.data.checks import check_labels_occur, check_tables, label_counts, rows_without, text_keys
from pet.data.corrections import read_corrections
from pet.data.given_table import check_given_table
from pet.data.label_sets import labels_of
from pet.data.pick import pick_columns, pick_rows
from pet.data.read import read_table
from pet.data.run_texts import NO_TEXTS_LEFT
from pet.data.source_names import text_columns
from pet.data.table_format import TableFormat
from pet.errors import PetError
from pet.progress import Reporter
from pet.resources import expand
from pet.run.settings import MEMORY, RunSettings
from pet.store.files import hash_file, hash_inputs
from pet.task.task import Task

if TYPE_CHECKING:
    from datasets import Dataset

Array = NDArray[Any]
NAMES = {"train": "train", "pool": "unlabeled", "test": "test"}  # internal name -> option


@dataclass(frozen=True)
class RunData:
    """The texts of a run.

    Attributes
    ----------
    train : the sampled labeled examples, or None
    pool : unlabeled texts, without those in `train`, or None
    test : labeled texts for evaluation, or None
    report : label counts and warnings, for metrics.json
    keys : `pet.data.checks.text_keys` of ``train``, ``pool``, and ``test``
    corrections : the content of each file of corrections, as it was read
    """

    train: Dataset | None = None
    pool: Dataset | None = None
    test: Dataset | None = None
    report: dict[str, Any] = field(default_factory=dict)
    keys: Mapping[str, NDArray[np.uint64]] = field(default_factory=dict)
    corrections: tuple[bytes, ...] = ()


def load_data(
    settings: RunSettings,
    task: Task,
    reporter: Reporter,
    tables: Mapping[str, Dataset] | None = None,
    parts: Collection[str] = ("train", "unlabeled", "test"),
) -> RunData:
    """Read the tables, sample examples, and check for duplicates and leaks.

    Parameters
    ----------
    settings, task : of the run
    reporter : gets warnings
    tables : ``train``, ``unlabeled``, or ``test`` -> texts in memory, used instead of a file
    parts : which of them to read
    """
    labeled = _reading(settings, task)
    train = pool = test = None
    if "train" in parts and settings.train is not None and not settings.texts.nothing_labeled:
        train = settings.texts.labeled(_table("train", settings.train, tables, task, **labeled), task.labels)
    corrections = None
    if "train" in parts and settings.correction_files:
        corrections = read_corrections(settings.correction_files, task)
        train = corrections.add_to(train, task.fields)
    if train is not None:
        check_labels_occur(train, len(task.labels))
    if "unlabeled" in parts and settings.unlabeled is not None:
        columns = text_columns(settings.unlabeled, labeled["columns"])
        how = {"columns": columns, "table_format": labeled["table_format"]}
        pool = _table("unlabeled", settings.unlabeled, tables, task, **how)
    test = read_test(settings, task, tables) if "test" in parts else None
    reviewed = None if corrections is None else text_keys(corrections.labeled, task.fields)
    found = check_tables(task.fields, list(task.labels), train, pool, test, reviewed)
    for message in found.messages:
        reporter.warn(message)
    removed, keys = 0, {part: found.keys[name] for part, name in NAMES.items() if name in found.keys}
    if pool is not None:
        rows = np.arange(len(pool)) if train is None else rows_without(keys["pool"], keys["train"])
        if corrections is not None:
            rows = rows[~np.isin(keys["pool"][rows], corrections.outside)]
        removed = len(pool) - len(rows)
        if not len(rows) and removed and settings.method != "supervised":
            raise PetError(NO_TEXTS_LEFT)
        rows = settings.texts.pool(rows)
        if not len(rows):  # supervised classifiers need none
            pool = None
            del keys["pool"]
        elif len(rows) < len(pool):
            pool, keys["pool"] = pick_rows(pool, rows), keys["pool"][rows]
    report = {
        "train": 0 if train is None else len(train),
        "pool": 0 if pool is None else len(pool),
        "test": 0 if test is None else len(test),
        "train_per_label": {} if train is None else _counts(train, task),
        "removed_from_pool": removed,
        "messages": found.messages,
    }
    return RunData(train, pool, test, report, keys, () if corrections is None else corrections.contents)


def read_test(settings: RunSettings, task: Task, tables: Mapping[str, Dataset] | None = None) -> Dataset | None:
    """Read the test texts of a run, or return None if it has none; for the parameters see `load_data`."""
    if settings.test is None:
        return None
    return _table("test", settings.test, tables, task, **_reading(settings, task))


def _reading(settings: RunSettings, task: Task) -> dict[str, Any]:
    """Return how labeled texts are read."""
    return {
        "labels": labels_of(task),
        "label_map": task.label_map,
        "columns": {**task.columns, **settings.columns},
        "table_format": TableFormat(**settings.table_format),
    }


def _table(name: str, source: str, tables: Mapping[str, Dataset] | None, task: Task, **how: Any) -> Dataset:
    if tables and name in tables:
        labels = len(task.labels) if "labels" in how else None
        check_given_table(tables[name], task.fields, labels, name, several=task.multi_label and labels is not None)
        return tables[name]
    if source.startswith(MEMORY):
        raise PetError(
            f"{name}: texts were passed in Python, not in a file, and the run has not kept them; start it from Python "
            "again, with the same texts and the same folder"
        )
    return read_table(source, task.fields, **how, name=name)


def _counts(table: Dataset, task: Task) -> dict[str, int]:
    counts = label_counts(table, len(task.labels))
    return {label: int(n) for label, n in zip(task.labels, counts, strict=True)}


def source_fingerprint(source: str | None, table: Dataset | None) -> str | None:
    """Identify a data source: a hash of the bytes of its files, or of the texts that are read from anything else."""
    if source is None or table is None:
        return None
    return file_fingerprint(source) or _content_hash(table)


def file_fingerprint(source: str) -> str | None:
    """Return a hash of the bytes of the files of a source; None if it is anything else."""
    if source.startswith(MEMORY):
        return None
    path = expand(source)
    if path.is_file():
        return hash_file(path)
    if path.is_dir() and not any(p.is_dir() for p in path.iterdir()):
        return hash_inputs({p.name: hash_file(p) for p in sorted(path.iterdir()) if p.is_file()})
    return None


def corrections_fingerprint(contents: Sequence[bytes]) -> str | list[str] | None:
    """Return the hash of a file of corrections, or a list of several."""
    hashes = [hashlib.sha256(content).hexdigest() for content in contents]
    return (hashes if len(hashes) > 1 else hashes[0]) if hashes else None


def _content_hash(table: Dataset) -> str:
    """Hash the values of all columns, independent of how they are chunked."""
    digest = hashlib.sha256()
    for name in table.column_names:
        digest.update(f"{name}\n".encode())
        for batch in pick_columns(table, [name]).iter(batch_size=4096):
            digest.update("".join(f"{json.dumps(value)}\n" for value in batch[name]).encode())
    return digest.hexdigest()
