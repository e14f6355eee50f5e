"""Members and labels made by Ray: two workers on this machine, whose results are those of one process."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_run import TASK, pet, refused, run_options, write_inputs, write_rows
from test_multi_label_run import two_texts
from test_workers import IPET, contents, same
from tiny_text import SENTENCES, news_rows

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytest.importorskip("pandas")

from pet.data.table_options import TableOptions  # noqa: E402
from pet.errors import PetError  # noqa: E402
from pet.inference import label_shards as labeling  # noqa: E402
from pet.inference.ensemble import open_ensemble  # noqa: E402
from pet.inference.label_file import label_file  # noqa: E402
from pet.inference.options import ComputeOptions  # noqa: E402
from pet.progress import Reporter  # noqa: E402
from pet.run.execution import on_ray  # noqa: E402
from pet.run.execution.options import Execution  # noqa: E402

pytestmark = [pytest.mark.usefixtures("cluster", "one_thread"), pytest.mark.timeout(600)]
ON_RAY = ("--executor", "ray", "--workers", "2")
ONE, TWO = Execution("ray", workers=1), Execution("ray", workers=2)
SHARDS = TableOptions(chunk_rows=16)
CPU = ComputeOptions(device="cpu")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of two processors, which the commands find and leave running."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")
        ray.init(num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False)
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("ray") / "in")


@pytest.fixture(scope="module")
def finished(inputs: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run made in this process."""
    folder = tmp_path_factory.mktemp("one") / "run"
    pet(*run_options(inputs, tiny_model), "-o", folder)
    return folder


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool in three Parquet files, with row groups and files that end where no shard does."""
    folder = tmp_path_factory.mktemp("pool")
    texts = SENTENCES.splitlines()[:40]
    for number, (start, stop) in enumerate([(0, 7), (7, 36), (36, 40)]):
        table = pa.table({"text": texts[start:stop], "other": list(range(start, stop))})
        pq.write_table(table, folder / f"{number}.parquet", row_group_size=6)
    return folder


def rows_of(place: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(place).to_pylist()
    return rows


def test_two_workers_write_the_same_files_as_one_process(
    inputs: Path, tiny_model: Path, tmp_path: Path, finished: Path
):
    pet(*run_options(inputs, tiny_model), *ON_RAY, "-o", tmp_path / "run")
    same(tmp_path / "run", finished)
    assert ray.is_initialized()


@pytest.mark.slow
def test_texts_with_several_labels_get_the_same_files_as_in_one_process(tiny_model: Path, tmp_path: Path):
    inputs = write_inputs(tmp_path / "in")
    (inputs / "task.yaml").write_text(TASK + "multi_label: true\n")
    rows = two_texts(news_rows())
    write_rows(inputs / "train.jsonl", rows[:12])
    write_rows(inputs / "test.jsonl", rows[28:])
    pet(*run_options(inputs, tiny_model), "-q", "-o", tmp_path / "one")
    pet(*run_options(inputs, tiny_model), *ON_RAY, "-q", "-o", tmp_path / "many")
    same(tmp_path / "many", tmp_path / "one")


def test_a_parquet_pool_gets_the_labels_of_one_process_and_they_are_replaced_only_with_force(
    finished: Path, pool: Path, tmp_path: Path
):
    label_file(finished, str(pool), tmp_path / "one.parquet", table=SHARDS, compute=CPU)
    counts = labeling.label_on_ray(finished, str(pool), tmp_path / "many", TWO, table=SHARDS, compute=CPU)
    assert sorted(path.name for path in (tmp_path / "many").iterdir()) == [f"part-0000{n}.parquet" for n in range(3)]
    assert counts.texts == counts.kept == sum(counts.per_label.values()) == 40
    assert rows_of(tmp_path / "many") == rows_of(tmp_path / "one.parquet")  # to the last bit, in the same order
    there, here = (pq.read_schema(tmp_path / name) for name in ("one.parquet", "many/part-00002.parquet"))
    assert here.equals(there, check_metadata=True)
    with pytest.raises(PetError, match="--force"):
        labeling.label_on_ray(finished, str(pool), tmp_path / "many", ONE, table=SHARDS, compute=CPU)
    assert "other" not in rows_of(tmp_path / "many")[0]
    kept = TableOptions(chunk_rows=16, keep=("other",), force=True)
    labeling.label_on_ray(finished, str(pool), tmp_path / "many", ONE, table=kept, compute=CPU)
    assert [row["other"] for row in rows_of(tmp_path / "many")] == list(range(40))


@pytest.mark.slow
def test_a_text_file_with_ids_gets_the_same_labels_as_from_one_process(finished: Path, inputs: Path, tmp_path: Path):
    source = str(inputs / "test.jsonl")
    sure = sorted(row["confidence"] for row in _labeled(finished, source, tmp_path / "all.parquet"))[4]
    expected = _labeled(finished, source, tmp_path / "one.parquet", min_confidence=sure)
    counts = labeling.label_on_ray(
        finished, source, tmp_path / "many", TWO, table=TableOptions(chunk_rows=5), compute=CPU, min_confidence=sure
    )
    assert rows_of(tmp_path / "many") == expected
    assert (counts.texts, counts.kept) == (12, 8)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".tmp")] == []


def test_columns_of_a_text_file_are_kept(finished: Path, tmp_path: Path):
    rows = [{"body": text, "text": i, "more": {"n": i}} for i, text in enumerate(SENTENCES.splitlines()[:12])]
    source = write_rows(tmp_path / "pool.jsonl", rows)
    table = TableOptions({"text": "body"}, keep=("text,more",), chunk_rows=5)
    labeling.label_on_ray(finished, str(source), tmp_path / "many", ONE, table=table, compute=CPU)
    label_file(finished, str(source), tmp_path / "one.parquet", table=table, compute=CPU)
    found = rows_of(tmp_path / "many")
    assert found == rows_of(tmp_path / "one.parquet")
    assert [(row["text"], row["more"]) for row in found] == [(i, {"n": i}) for i in range(12)]


def _labeled(run: Path, source: str, place: Path, **options: Any) -> list[dict[str, Any]]:
    label_file(run, source, place, table=TableOptions(chunk_rows=5), compute=CPU, **options)
    return rows_of(place)


@pytest.mark.slow
def test_finished_shards_are_kept_when_labeling_is_interrupted(
    finished: Path, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    answers = labeling._answers

    def stop_after_one(*arguments: Any) -> Iterator[Any]:
        yield next(answers(*arguments))
        raise KeyboardInterrupt

    def label() -> None:
        labeling.label_on_ray(
            finished, str(pool), tmp_path / "many", TWO, table=SHARDS, compute=CPU, reporter=Reporter("plain")
        )

    monkeypatch.setattr(labeling, "_answers", stop_after_one)
    with pytest.raises(KeyboardInterrupt):
        label()
    assert not (tmp_path / "many").exists()
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / ".tmp-many").glob("part-*.parquet")}
    assert made
    monkeypatch.undo()
    label()
    assert f"{len(made)} shards" in capsys.readouterr().err
    kept = {tmp_path / "many" / path.name: written for path, written in made.items()}
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    label_file(finished, str(pool), tmp_path / "one.parquet", table=SHARDS, compute=CPU)
    assert rows_of(tmp_path / "many") == rows_of(tmp_path / "one.parquet")


def test_tables_of_one_file_do_not_share_shards(finished: Path, tmp_path: Path):
    ensemble, path = open_ensemble(finished), tmp_path / "pool.db"
    with closing(sqlite3.connect(path)) as database:
        for table in ("june", "july"):
            database.execute(f"create table {table} (text)")
            database.execute(f"insert into {table} values ('a text of {table}')")
        database.commit()

    def fingerprint(table: str) -> str:
        given = labeling._look_at(f"sqlite:{path}#{table}", ensemble, SHARDS)
        return labeling._fingerprint(finished, given, 0.0, SHARDS, CPU)

    assert fingerprint("june") == fingerprint("june") != fingerprint("july")


@pytest.mark.slow
def test_a_missing_text_is_named(finished: Path, tmp_path: Path):
    pq.write_table(pa.table({"text": ["a", "b", None, "d"]}), tmp_path / "pool.parquet")
    message = refused("label", finished, "--input", tmp_path / "pool.parquet", *ON_RAY, "-o", tmp_path / "labels")
    assert "pool.parquet: row 3" in message
    assert not (tmp_path / "labels").exists()


def test_labeling_on_a_cluster_requires_an_output_folder(finished: Path, pool: Path, tmp_path: Path):
    message = refused("label", finished, "--input", pool, *ON_RAY, "-o", tmp_path / "labels.parquet")
    assert "folder" in message and "-o labels" in message
    parts = tmp_path / "parts"
    parts.mkdir()
    pq.write_table(pa.table({"text": ["a"]}), parts / "part-0.parquet")
    assert "is the input" in refused("label", finished, "--input", parts, *ON_RAY, "-o", parts, "--force")
    assert [path.name for path in parts.iterdir()] == ["part-0.parquet"]


def test_what_one_process_does_is_refused_on_a_cluster(finished: Path, pool: Path, tmp_path: Path):
    options = ("--teacher", "openai:http://127.0.0.1:1/v1#m", "--quantize")
    message = refused("label", finished, "--input", pool, *ON_RAY, "-o", tmp_path / "labels", *options)
    assert "--teacher" in message and "--quantize" in message


def test_a_folder_that_is_not_shared_with_a_machine_is_named(tmp_path: Path):
    (problem,) = on_ray._make(str(tmp_path / "run" / ".tmp-payload@1"), "quiet", {})["problems"]
    assert str(tmp_path / "run") in problem


def test_a_ray_address_that_does_not_answer_is_named(
    inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def init(**options: Any) -> None:
        raise ConnectionError(f"nobody at {options['address']}\nand more")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    options = [*run_options(inputs, tiny_model), *ON_RAY, "--ray-address", "h:1", "-o", tmp_path / "run"]
    said = refused(*options)
    assert "nobody at h:1" in said and "--ray-address" in said


# ---- killed workers ----------------------------------------------------------------------------


def children_named(name: str) -> list[psutil.Process]:
    """Processes below this one with `name` in their command line."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has ended in the meantime
            if name in " ".join(process.cmdline()):
                found.append(process)
    return found


def kill_one(name: str, ready: Callable[[], bool]) -> tuple[threading.Thread, list[int]]:
    """Watch for a moment, then kill a process of our cluster that does this work; gives who was killed."""
    killed: list[int] = []

    def watch() -> None:
        while not ready():
            time.sleep(0.01)
        busy = children_named(name)
        busy[0].kill()
        killed.append(busy[0].pid)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread, killed


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="has no SIGKILL")
@pytest.mark.parametrize("more", [(), IPET], ids=["pet", "ipet"])
def test_killing_a_worker_during_training_does_not_change_the_files(
    inputs: Path, tiny_model: Path, tmp_path: Path, more: tuple[str, ...]
):
    options = [*run_options(inputs, tiny_model), *more, "--set", "steps=40"]
    pet(*options, "-o", tmp_path / "one")
    folder = tmp_path / "run"
    thread, killed = kill_one("ray::_make", lambda: any(folder.glob(".tmp-g0--p*@*")))
    pet(*options, *ON_RAY, "-o", folder)
    thread.join(5)
    assert killed and not psutil.pid_exists(killed[0])
    same(folder, tmp_path / "one")
    assert [name for name in contents(folder) if ".tmp-" in name] == []


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="has no SIGKILL")
def test_killing_an_actor_during_labeling_does_not_change_the_labels(finished: Path, pool: Path, tmp_path: Path):
    pairs = TableOptions(chunk_rows=2)
    label_file(finished, str(pool), tmp_path / "one.parquet", table=pairs, compute=CPU)
    thread, killed = kill_one("ShardLabeler", lambda: any((tmp_path / ".tmp-many").glob("part-*.parquet")))
    labeling.label_on_ray(finished, str(pool), tmp_path / "many", TWO, table=pairs, compute=CPU)
    thread.join(5)
    assert killed and not psutil.pid_exists(killed[0])
    assert rows_of(tmp_path / "many") == rows_of(tmp_path / "one.parquet")


@pytest.mark.slow
def test_a_stage_that_loses_every_worker_ends_the_run_with_a_message(inputs: Path, tiny_model: Path, tmp_path: Path):
    folder = tmp_path / "run"
    options = [*run_options(inputs, tiny_model), "--set", "steps=2000", *ON_RAY, "-o", folder]
    done = threading.Event()

    def kill_all() -> None:
        while not done.wait(0.5):
            if any(folder.glob(".tmp-g0--p*@*")):
                for process in children_named("ray::_make"):
                    with suppress(psutil.Error):
                        process.kill()

    thread = threading.Thread(target=kill_all, daemon=True)
    thread.start()
    try:
        # Not `refused`: here, Ray runs before and after the command and may print messages about lost workers later.
        message = pet(*options, expect=2).stderr
    finally:
        done.set()
        thread.join()
    assert "3 workers" in message and "memory" in message
