"""Label a pool on a Ray cluster: in shards, none of which passes through the leading process.

The leading process looks at the ends of the Parquet files and names ranges of rows. Ray Data hands these to workers
(`pet.inference.shard_worker`), each of which holds the ensemble, reads its range from the shared storage, and writes a
file of soft labels to it. Ray Data's own reader is not used because its blocks do not say which rows they are, which
row numbers as ids, the order of the shards and resuming all need. Its writer is not used because it leaves half of the
files behind when it is stopped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pet.data.columns import Layout, lay_out
from pet.data.kept import choose_columns, refuse_many_texts, refuse_taken
from pet.data.open_source import open_source
from pet.data.read import prepare
from pet.data.rows import output_columns
from pet.data.shards import Shard, cut_files, cut_rows
from pet.data.source import Source, column_names
from pet.data.source_names import STANDARD_INPUT, absolute, file_of, split_rows, text_columns
from pet.data.table_options import TableOptions
from pet.ensemble.soft_labels import soft_label_columns
from pet.errors import PetError
from pet.inference.ensemble import SavedEnsemble, open_ensemble
from pet.inference.label_file import Labeled
from pet.inference.options import ComputeOptions, check_confidence
from pet.inference.shard_worker import ABOUT, ATTEMPTS, KEPT, ShardLabeler, ShardWork, cut_table
from pet.progress import Reporter
from pet.resources import expand
from pet.run.execution.cluster import Cluster
from pet.run.execution.options import Execution
from pet.store.files import hash_inputs, write_atomically
from pet.store.folders import TEMPORARY, make_folders, remove, remove_quietly, settle_tree
from pet.store.lock import LOCK, FolderLock
from pet.store.manifest import read_config, read_stages
from pet.store.outputs import check_new_folder, put_in_place
from pet.store.tables import TABLE_ENDINGS, OutputColumn
from pet.store.tree import check_inside
from pet.terminal import counted

_TEXTS = "texts"  # a table that is not Parquet, cut into files that are
_PART = re.compile(r"part-\d+\.parquet")  # what `ShardWork.part` names
_MOST_BLOCKS = 10_000


@dataclass(frozen=True)
class _Input:
    """A table to label.

    Attributes
    ----------
    given : as the user has named it
    source, layout : how to read it
    mapping : field -> column
    table : how to read it; its ``keep`` names the columns to keep
    """

    given: str
    source: Source
    layout: Layout
    mapping: dict[str, str]
    table: TableOptions


def label_on_ray(
    run: str | Path,
    source: str,
    output: str | Path,
    execution: Execution,
    *,
    min_confidence: float = 0.0,
    table: TableOptions | None = None,
    compute: ComputeOptions | None = None,
    reporter: Reporter | None = None,
) -> Labeled:
    """Label any number of texts with the workers of a Ray cluster.

    The probabilities are those of `pet.inference.label_file.label_file` to the last bit, on CPUs of the same kind with
    the same number of threads: shards are its chunks. Only if `table.chunk_rows` texts of a Parquet file are more than
    64 MB are its chunks smaller, and sums may differ in their last bits.

    Parameters
    ----------
    run, source : of `label_file`, on storage that all machines see under the same path
    output : a new or empty folder on the same storage. It receives ``part-00000.parquet`` and so on, in the order of
        the texts. After a stop, the same call resumes
    execution : which cluster, how many workers, and what each of them requests
    min_confidence, table, compute, reporter : of `label_file`; a shard has `table.chunk_rows` texts

    Returns
    -------
    Labeled

    Raises
    ------
    PetError
        For every mistake in the input or the options. Ids that appear in two shards of a Parquet pool are not found.
    """
    table, compute, reporter = table or TableOptions(), compute or ComputeOptions(), reporter or Reporter("quiet")
    check_confidence(min_confidence)
    place = _check_output(output, source, compute, table.force)
    ensemble = open_ensemble(run, allow_pickle=compute.allow_pickle, access=compute.access)
    given = _look_at(source, ensemble, table)
    folder = place.with_name(f"{TEMPORARY}{place.name}")
    cluster = Cluster(execution.ray_address)
    with _working_in(folder, _fingerprint(run, given, min_confidence, table, compute), reporter):
        try:
            cluster.connect(reporter)
            resources = cluster.resources(execution, compute.device, reporter)
            files, layout, kept, shards = _shards(given, ensemble, folder, table.chunk_rows, reporter)
            work = ShardWork(
                str(expand(run).absolute()), str(folder), files, layout, kept, min_confidence, compute,
                execution.worker_cpus or 1,
            )  # fmt: skip
            answers = _answers(work, shards, cluster.actors(execution, resources), resources)
            labeled = _collect(answers, shards, ensemble, reporter)
        finally:
            cluster.close()
    for name in (_TEXTS, ATTEMPTS, ABOUT, LOCK):
        remove(folder / name)
    settle_tree(folder)
    put_in_place(folder, place, replace=table.force)
    return labeled


def check_cluster_options(compute: ComputeOptions) -> None:
    """Refuse ways of computing that work in one process only."""
    alone = {
        "--runtime": compute.runtime not in (None, "torch"),
        "--quantize": compute.quantize,
        "--teacher": bool(compute.access.addresses),  # its limits hold for one process
    }
    problems = [f"{name} works in one process only; leave it out with --executor ray" for name in alone if alone[name]]
    if problems:
        raise PetError(problems)


def _check_output(output: str | Path, source: str, compute: ComputeOptions, force: bool) -> Path:
    check_cluster_options(compute)
    if Path(output).suffix in TABLE_ENDINGS:
        raise PetError(
            f"{output}: on a cluster the output is a folder of Parquet files; name one, as -o {Path(output).stem}"
        )
    place, given = check_new_folder(output, force=force, replaceable=_holds_parts).absolute(), file_of(source)
    if given.is_dir() and place.is_dir() and given.samefile(place):
        raise PetError(f"{output}: is the input itself; write the labels to another folder")
    return place


def _holds_parts(folder: Path) -> bool:
    return all(_PART.fullmatch(path.name) for path in folder.iterdir())


def _look_at(source: str, ensemble: SavedEnsemble, table: TableOptions) -> _Input:
    if split_rows(source)[0] == STANDARD_INPUT:
        raise PetError(f"{source}: standard input cannot be read on other machines; write it to a file")
    mapping = text_columns(source, {**ensemble.columns, **table.columns})
    opened, layout = prepare(source, ensemble.task.fields, None, {}, mapping, "input", table.table_format)
    if table.keep:
        refuse_many_texts("--keep", mapping)
    keep = choose_columns(table.keep, column_names(opened) or [], opened.shown)
    several = ensemble.ensemble.independent
    refuse_taken(keep, soft_label_columns(ensemble.task.labels, ensemble.names, independent=several))
    return _Input(source, opened, layout, mapping, replace(table, keep=keep))


def _fingerprint(
    run: str | Path, given: _Input, min_confidence: float, table: TableOptions, compute: ComputeOptions
) -> str:
    """Return a hash of everything that the labels depend on; shards with the same hash are kept."""
    folder = expand(run)
    paths = given.source.paths
    return hash_inputs(
        {
            "config": read_config(folder),
            "members": {name: stage["outputs"] for name, stage in read_stages(folder).items()},
            "source": absolute(given.given),  # names the sheet or the table of a file, too
            "files": [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in paths],
            "options": [
                min_confidence,
                given.mapping,
                compute.device,
                compute.precision,
                table.chunk_rows,
                given.table.keep,
            ],
            "format": given.table.table_format.to_dict(),
        }
    )


@contextmanager
def _working_in(folder: Path, about: str, reporter: Reporter) -> Iterator[None]:
    """Lock a folder that holds only what an earlier call with the same fingerprint has finished."""
    if folder.is_symlink():  # planted: its content would be deleted
        raise PetError(f"{folder}: is a link, and shards are collected in a folder of this name; delete the link")
    make_folders(folder)
    check_inside(folder, "folder of shards")
    lock = FolderLock(folder)
    lock.acquire()
    try:
        note = folder / ABOUT
        if note.is_file() and note.read_text(encoding="utf-8") == about:
            parts = len(list(folder.glob("part-*.parquet")))
            reporter.info(f"{parts} shards are already labeled and are kept")
        else:
            _refuse_foreign(folder)
            for path in folder.iterdir():
                if path.name != LOCK:
                    remove(path)
            write_atomically(note, about)
        for path in (folder / ATTEMPTS, *folder.glob(f"{TEMPORARY}*")):
            remove_quietly(path)
        make_folders(folder / ATTEMPTS)
        yield
    finally:
        lock.release()


def _refuse_foreign(folder: Path) -> None:
    """Refuse a folder with files that this command does not write, because it would delete them."""
    names = map(re.escape, (LOCK, ABOUT, ATTEMPTS, _TEXTS))
    ours = re.compile("|".join([_PART.pattern, f"{re.escape(TEMPORARY)}.*", *names]))
    others = sorted(path.name for path in folder.iterdir() if not ours.fullmatch(path.name))
    if others:
        raise PetError(
            f"{folder}: shards are collected here, but it contains other files ({others[0]}); move them away"
        )


def _shards(
    given: _Input, ensemble: SavedEnsemble, folder: Path, rows: int, reporter: Reporter
) -> tuple[Source, Layout, dict[str, OutputColumn], list[Shard]]:
    """Return the Parquet files to read, their columns, the columns to keep, and the shards."""
    if given.source.kind == "parquet" and not given.layout.nested and given.layout.only is None:
        paths = tuple(path.absolute() for path in given.source.paths)
        source = Source("parquet", given.source.shown, paths, None, given.source.class_names)
        columns = output_columns(source, given.table.keep, "input", typed=True)
        return source, given.layout, dict(zip(given.table.keep, columns, strict=True)), cut_rows(paths, rows)
    fields = ensemble.task.fields
    source = _cut_on_ray(given, fields, folder / _TEXTS, reporter)
    layout = lay_out(["id", *fields], fields, None, {}, "input", strict=True)
    schema = pq.read_schema(source.paths[0])
    kept = {f"{KEPT}{name}": OutputColumn(name, schema.field(f"{KEPT}{name}").type) for name in given.table.keep}
    return source, layout, kept, cut_files(source.paths)


def _cut_on_ray(given: _Input, fields: Sequence[str], folder: Path, reporter: Reporter) -> Source:
    """Have a worker check a table that is not Parquet and cut it into Parquet files, once."""
    import ray

    if not folder.is_dir():
        reporter.info("cutting the input into shards")
        worker = ray.remote(num_cpus=1)(cut_table)
        problems = ray.get(worker.remote(absolute(given.given), list(fields), given.mapping, given.table, str(folder)))
        if problems:
            raise PetError(problems)
    return open_source(folder, "input")


def _collect(
    answers: Iterator[dict[str, Any]], shards: Sequence[Shard], ensemble: SavedEnsemble, reporter: Reporter
) -> Labeled:
    labels = ensemble.task.labels
    counts, texts, written = np.zeros(len(labels), dtype=np.int64), 0, 0
    total = sum(count for shard in shards for _, _, count in shard.pieces)
    members = len(ensemble.names)
    with reporter.task(f"label with {counted(members, 'member')}", total, "text") as bar:
        for answer in answers:
            if "problems" in answer:
                raise PetError(answer["problems"])
            texts, written = texts + answer["texts"], written + answer["written"]
            counts += np.asarray(answer["per_label"])
            bar.update(answer["texts"])
    return Labeled(texts, written, dict(zip(labels, counts.tolist(), strict=True)))


def _answers(
    work: ShardWork, shards: Sequence[Shard], actors: int, resources: dict[str, float]
) -> Iterator[dict[str, Any]]:
    """Yield the workers' answers for each shard, in the order in which they finish."""
    import logging

    import ray.data

    logger, context = logging.getLogger("ray.data"), ray.data.DataContext.get_current()
    before = logger.level, context.enable_progress_bars, context.execution_options.preserve_order
    logger.setLevel(logging.WARNING)
    context.enable_progress_bars = context.execution_options.preserve_order = False
    items = [{"shard": json.dumps(shard.to_dict())} for shard in shards]
    table = ray.data.from_items(items, override_num_blocks=min(len(items), _MOST_BLOCKS))
    answers = table.map_batches(
        ShardLabeler,
        fn_constructor_args=(work,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(actors, len(items))),
        **resources,
    )
    try:
        for row in answers.iter_rows():
            yield json.loads(row["answer"])
    finally:
        logger.setLevel(before[0])
        context.enable_progress_bars, context.execution_options.preserve_order = before[1:]
