"""Soft labels by a Ray cluster: a pool in shards, none of which passes through the process that leads.

The leading process looks at the ends of the Parquet files and names ranges of rows; Ray Data gives these to actors,
each of which holds the ensemble, reads its range from the shared storage, and writes a file of soft labels to it.
Ray Data's own reader is not used, because its blocks do not say which rows they are: ids that are row numbers, the
order of the shards, and going on after a stop need that. Nor is its writer, which leaves half of the files behind
when it is stopped.
"""

from __future__ import annotations

import json
import platform
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pet.data.columns import Layout, lay_out
from pet.data.open_source import open_source
from pet.data.read import iter_table, prepare
from pet.data.shards import Shard, cut_files, cut_rows, read_shard
from pet.data.source import Source
from pet.ensemble.soft_labels import writing_soft_labels
from pet.errors import PetError
from pet.inference.ensemble import SavedEnsemble, open_ensemble
from pet.inference.label_file import CHUNK_ROWS, Labeled, check_confidence, label_chunk, text_columns
from pet.progress import Reporter
from pet.run.execution.cluster import Cluster
from pet.run.execution.executor import TRIES, Execution, lost_too_often
from pet.store.files import (
    TEMPORARY,
    disk_problem,
    hash_inputs,
    make_folders,
    remove,
    remove_quietly,
    sync_tree,
    write_whole,
)
from pet.store.lock import FolderLock
from pet.store.manifest import read_config, read_stages
from pet.store.outputs import check_new_folder
from pet.training.device import make_accelerator

_ABOUT = "labeling.json"
_TEXTS = "texts"  # what is no Parquet, cut into files that are
_TRIES = "tries"  # an empty file for each attempt at a shard
_MOST_BLOCKS = 10_000


@dataclass(frozen=True)
class _Work:
    """What every actor needs to know."""

    run: str
    folder: str
    source: Source
    layout: Layout
    min_confidence: float
    device: str
    precision: str | None
    allow_pickle: bool | None
    threads: int

    def part(self, shard: Shard) -> Path:
        return Path(self.folder) / f"part-{shard.number:05d}.parquet"


def label_on_ray(
    run: str | Path,
    source: str,
    output: str | Path,
    execution: Execution,
    *,
    min_confidence: float = 0.0,
    columns: Mapping[str, str] | None = None,
    device: str = "auto",
    precision: str | None = None,
    allow_pickle: bool | None = None,
    reporter: Reporter | None = None,
    chunk_rows: int = CHUNK_ROWS,
) -> Labeled:
    """Label texts of any number with the actors of a Ray cluster.

    The probabilities are those of `pet.inference.label_file.label_file` to the last bit, on processors of the same
    kind with the same number of threads: shards are its chunks. Only where `chunk_rows` texts of a Parquet file are
    more than 64 MB are its chunks smaller, and sums may differ in their last bits.

    Parameters
    ----------
    run, source : of `label_file`, on storage that all machines see under the same path
    output : a folder, new or empty, there, too; it gets ``part-00000.parquet`` and so on, in the order of the texts.
        What was labeled before a stop is found again by the same call
    execution : which cluster, how many actors, and what each asks for
    min_confidence, columns, device, precision, allow_pickle, reporter : of `label_file`
    chunk_rows : texts of a shard

    Returns
    -------
    Labeled

    Raises
    ------
    PetError
        For every mistake of the user's. Ids that stand in two shards of a Parquet pool are not found.
    """
    reporter = reporter or Reporter("quiet")
    check_confidence(min_confidence)
    if Path(output).suffix in (".parquet", ".jsonl"):
        raise PetError(f"{output}: a cluster writes a folder of Parquet files; name one, as -o {Path(output).stem}")
    place = check_new_folder(output).absolute()
    ensemble = open_ensemble(run, allow_pickle=allow_pickle)
    mapping = text_columns(ensemble, columns)
    opened, layout = prepare(source, ensemble.task.fields, None, {}, mapping, "input")
    about = {
        "config": read_config(Path(run).expanduser()),
        "members": {name: stage["outputs"] for name, stage in read_stages(Path(run).expanduser()).items()},
        "source": [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in opened.paths] or source,
        "options": [min_confidence, mapping, device, precision, chunk_rows],
    }
    folder = place.with_name(f"{TEMPORARY}{place.name}")
    cluster = Cluster(execution.ray_address)
    make_folders(folder)
    lock = FolderLock(folder)
    lock.acquire()
    try:
        _go_on_or_begin(folder, hash_inputs(about), reporter)
        cluster.connect()
        resources = cluster.resources(execution, device, reporter)
        if opened.kind != "parquet":
            opened, layout = _cut_on_ray(source, ensemble, mapping, folder / _TEXTS, chunk_rows, reporter)
            shards = cut_files(opened.paths)
        else:
            shards = cut_rows(opened.paths, chunk_rows)
        work = _Work(
            str(Path(run).expanduser().absolute()), str(folder), _absolute(opened), layout, min_confidence, device,
            precision, allow_pickle, execution.worker_cpus or 1,
        )  # fmt: skip
        labeled = _label(work, shards, ensemble, cluster.actors(execution, resources), resources, reporter)
    finally:
        cluster.close()
        lock.release()
    for name in (_TEXTS, _TRIES, _ABOUT, ".lock"):
        remove(folder / name)
    sync_tree(folder)
    if place.is_dir():
        place.rmdir()  # it was empty
    folder.replace(place)
    return labeled


def _go_on_or_begin(folder: Path, about: str, reporter: Reporter) -> None:
    """Leave in the folder what an earlier call with the same work has made, and nothing else."""
    note = folder / _ABOUT
    if note.is_file() and note.read_text(encoding="utf-8") == about:
        parts = len(list(folder.glob("part-*.parquet")))
        reporter.info(f"{parts} shards were labeled before and are kept")
    else:
        for path in folder.iterdir():
            if path.name != ".lock":
                remove(path)
        write_whole(note, about)
    for path in (folder / _TRIES, *folder.glob(f"{TEMPORARY}*")):
        remove_quietly(path)
    make_folders(folder / _TRIES)


def _absolute(source: Source) -> Source:
    return Source(source.kind, source.shown, tuple(path.absolute() for path in source.paths), None, source.class_names)


def _cut_on_ray(
    source: str, ensemble: SavedEnsemble, mapping: dict[str, str], folder: Path, rows: int, reporter: Reporter
) -> tuple[Source, Layout]:
    """Have a worker check a table that is no Parquet, and cut it into files of so many rows, once."""
    import ray

    fields = ensemble.task.fields
    if not folder.is_dir():
        reporter.info("the input is cut into shards")
        place = source if source.startswith("hub:") else str(Path(source).absolute())
        problems = ray.get(ray.remote(num_cpus=1)(_cut).remote(place, list(fields), mapping, str(folder), rows))
        if problems:
            raise PetError(problems)
    cut = open_source(folder, "input")
    return cut, lay_out(["id", *fields], fields, None, {}, "input", strict=True)


def _cut(source: str, fields: list[str], mapping: dict[str, str], folder: str, rows: int) -> list[str]:
    """In a worker: the chunks of `iter_table` as files. What went wrong is returned."""
    place = Path(folder)
    if not place.parent.is_dir():
        return [_unseen(place.parent)]
    beside = place.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
    try:
        beside.mkdir()
        for number, chunk in enumerate(iter_table(source, fields, columns=mapping, name="input", chunk_rows=rows)):
            chunk.to_parquet(beside / f"{number:05d}.parquet")
        beside.replace(place)
    except PetError as error:
        return error.problems
    except OSError as error:
        message = disk_problem(error, f"write {place}")
        if message is None:
            raise
        return [message]
    return []


def _unseen(folder: Path) -> str:
    return (
        f"{folder}: the machine {platform.node()} of the Ray cluster does not see this folder; name one with -o that "
        "lies on storage which all machines share, under the same path"
    )


def _label(
    work: _Work,
    shards: list[Shard],
    ensemble: SavedEnsemble,
    actors: int,
    resources: dict[str, float],
    reporter: Reporter,
) -> Labeled:
    counts = np.zeros(len(ensemble.task.labels), dtype=np.int64)
    texts = 0
    total = sum(count for shard in shards for _, _, count in shard.pieces)
    with reporter.task(f"label with {len(ensemble.names)} members", total, "text") as bar:
        for answer in _answers(work, shards, actors, resources):
            if "problems" in answer:
                raise PetError(answer["problems"])
            texts += answer["texts"]
            counts += np.asarray(answer["per_label"])
            bar.update(answer["texts"])
    per_label = {label: int(n) for label, n in zip(ensemble.task.labels, counts, strict=True)}
    return Labeled(texts, int(counts.sum()), per_label)


def _answers(work: _Work, shards: list[Shard], actors: int, resources: dict[str, float]) -> Iterator[dict[str, Any]]:
    """What the actors say of each shard, in the order in which they are done."""
    import logging

    import ray.data

    logging.getLogger("ray.data").setLevel(logging.WARNING)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = False
    items = [{"shard": json.dumps(shard.to_dict())} for shard in shards]
    table = ray.data.from_items(items, override_num_blocks=min(len(items), _MOST_BLOCKS))
    answers = table.map_batches(
        _Labeller,
        fn_constructor_args=(work,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(actors, len(items))),
        **resources,
    )
    for row in answers.iter_rows():
        yield json.loads(row["answer"])


class _Labeller:
    """An actor that holds the ensemble and labels one shard after another."""

    def __init__(self, work: _Work):
        import torch

        self.work = work
        self.problems: list[str] = []
        torch.set_num_threads(work.threads)
        try:
            self._open()
        except PetError as error:  # told for each shard: what an actor raises here, Ray tries again and again
            self.problems = error.problems

    def _open(self) -> None:
        if not (Path(self.work.folder) / _ABOUT).is_file():
            raise PetError(_unseen(Path(self.work.folder)))
        self.ensemble = open_ensemble(self.work.run, allow_pickle=self.work.allow_pickle)
        self.accelerator = make_accelerator(self.work.device, self.work.precision or self.ensemble.precision)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"answer": [json.dumps(self._shard(Shard(**json.loads(text)))) for text in batch["shard"]]}

    def _shard(self, shard: Shard) -> dict[str, Any]:
        try:
            if self.problems:
                raise PetError(self.problems)
            if not self.work.part(shard).is_file():
                self._make(shard)
        except PetError as error:
            return {"problems": error.problems}
        return self._count(shard)

    def _make(self, shard: Shard) -> None:
        part, mark = self.work.part(shard), f"{shard.number:05d}-{uuid.uuid4().hex}"
        tries = part.parent / _TRIES
        if len(list(tries.glob(f"{shard.number:05d}-*"))) >= TRIES:
            raise lost_too_often(part.stem, "see Ray's log")
        (tries / mark).touch()
        beside = part.with_name(f"{TEMPORARY}{mark}")
        try:
            beside.mkdir()
            chunk = read_shard(shard, self.work.source, self.work.layout, "input")
            with writing_soft_labels(beside / part.name, self.ensemble.task.labels, self.ensemble.names) as append:
                ids, soft = label_chunk(self.ensemble, chunk, self.accelerator, self.work.min_confidence)
                if ids:
                    append(ids, soft)
            (beside / part.name).replace(part)
        except OSError as error:
            message = disk_problem(error, f"write {part}")
            if message is None:
                raise
            raise PetError(message) from error
        finally:
            remove_quietly(beside)
        remove_quietly(tries / mark)

    def _count(self, shard: Shard) -> dict[str, Any]:
        """Counts of a shard's file, also where an earlier attempt has made it."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        labels = self.ensemble.task.labels
        found = pc.value_counts(pq.read_table(self.work.part(shard), columns=["label"])["label"]).to_pylist()
        counts = {row["values"]: row["counts"] for row in found}
        texts = sum(count for _, _, count in shard.pieces)
        return {"texts": texts, "per_label": [counts.get(label, 0) for label in labels]}
