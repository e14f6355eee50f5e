"""Untrusted folders cannot make the program touch files outside them."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pet.errors import PetError
from pet.progress import Reporter
from pet.store.directory import RunDirectory
from pet.store.files import write_atomically
from pet.store.folders import remove
from pet.store.lock import FolderLock
from pet.store.outputs import check_new_folder, check_output, writing_folder
from pet.store.text import read_bytes
from pet.store.tree import check_inside

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links need privileges on Windows")
CONFIG = {"task": "t"}


def open_run(path: Path) -> RunDirectory:
    return RunDirectory(path, CONFIG, reporter=Reporter("quiet", io.StringIO()))


def build(run: RunDirectory) -> None:
    run.stage("g0/p1-r1", {"v": 1}, lambda folder: (folder / "model").write_text("weights") and None)
    run.stage(
        "g0/labels", {}, lambda folder: (folder / "labels.jsonl").write_text("l") and None, files=["labels.jsonl"]
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    with open_run(tmp_path / "run") as directory:
        build(directory)
    return tmp_path / "run"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder that the program must not touch."""
    (tmp_path / "victim" / "p1-r1").mkdir(parents=True)
    (tmp_path / "victim" / "file").write_text("precious")
    (tmp_path / "victim" / "p1-r1" / "model").write_text("weights")
    return tmp_path / "victim"


def state(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Content, mode and time of change of everything in a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        about = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (content, about.st_mode, about.st_mtime_ns)
    return found


@pytest.mark.parametrize("folder", ["g0", "g0/p1-r1", "student", ".tmp-a", "g0/p1-r1/deep"])
def test_a_folder_that_leads_out_of_a_run_is_refused(run: Path, victim: Path, folder: str):
    before = state(victim)
    remove(run / folder)
    (run / folder).symlink_to(victim)
    with pytest.raises(PetError, match=rf"{folder}: .*link.*{victim}"), open_run(run) as directory:
        build(directory)
    assert state(victim) == before


@pytest.mark.parametrize(
    "file", [".lock", "config.yaml", "manifest.json", "metrics.json", "g0/labels.jsonl", "g0/p1-r1/model", ".tmp-x"]
)
def test_a_file_that_leads_out_of_a_run_is_refused(run: Path, victim: Path, file: str):
    before = state(victim)
    remove(run / file)
    (run / file).symlink_to(victim / "file")
    with pytest.raises(PetError, match=rf"{file}: .*link"), open_run(run) as directory:
        build(directory)
    assert state(victim) == before


def test_a_relative_link_and_a_chain_of_links_out_of_a_run_are_refused(run: Path, victim: Path):
    (run / "a").symlink_to("../victim/file")
    (run / "b").symlink_to("c")
    (run / "c").symlink_to(victim)
    with pytest.raises(PetError) as caught:
        check_inside(run)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [str(run / name) for name in "abc"]


@pytest.mark.parametrize("file", [None, "labels.jsonl"])
def test_a_link_that_is_planted_while_a_run_is_open_is_refused(tmp_path: Path, victim: Path, file: str | None):
    before = state(victim)

    def build_late(folder: Path) -> None:
        (folder / "labels.jsonl").write_text("l")
        (tmp_path / "run" / "g1").symlink_to(victim)

    with open_run(tmp_path / "run") as directory, pytest.raises(PetError, match=rf"g1.* to {victim}"):
        directory.stage("g1/p1-r1", {}, build_late, files=None if file is None else [file])
    assert state(victim) == before


def test_links_into_the_same_run_and_a_run_that_is_a_link_work(run: Path, tmp_path: Path):
    (run / "best").symlink_to("g0/p1-r1")
    (run / "latest.jsonl").symlink_to(run / "g0" / "labels.jsonl")
    (run / "loop").symlink_to(".")
    (tmp_path / "big").mkdir()
    run.rename(tmp_path / "big" / "run")
    run.symlink_to(tmp_path / "big" / "run")
    remove(tmp_path / "big" / "run" / "latest.jsonl")  # its absolute target now leads through the link
    (run / "latest.jsonl").symlink_to(run / "g0" / "labels.jsonl")
    with open_run(run) as directory:
        build(directory)
    assert run.is_symlink() and (run / "best" / "model").read_text() == "weights"


@pytest.mark.parametrize("name", ["metrics.json", "manifest.json", "config.yaml", ".lock", "g0/pipe"])
def test_a_pipe_in_a_run_is_refused_and_does_not_hang(run: Path, name: str):
    remove(run / name)
    os.mkfifo(run / name)
    done: list[str] = []

    def attempt() -> None:
        try:
            with open_run(run):
                pass
        except PetError as error:
            done.append(str(error))

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(20)
    assert len(done) == 1 and name in done[0]


@pytest.mark.parametrize("file", ["manifest.json", "g0/labels.jsonl", "metrics.json"])
def test_a_hard_link_is_replaced_and_not_written_through(run: Path, victim: Path, file: str):
    remove(run / file)
    (run / file).hardlink_to(victim / "file")
    if file == "manifest.json":
        (victim / "file").write_text('{"format": 1, "stages": {}}')
    before = (victim / "file").read_bytes()
    with open_run(run) as directory:
        build(directory)
        write_atomically(run / "metrics.json", "{}")
    assert (victim / "file").read_bytes() == before


@pytest.mark.parametrize("make", [Path.symlink_to, Path.hardlink_to])
def test_a_lock_is_never_written_through_a_link(tmp_path: Path, make: Callable[[Path, Path], None]):
    (tmp_path / "precious").write_text("precious")
    folder = tmp_path / "folder"
    folder.mkdir()
    make(folder / ".lock", tmp_path / "precious")
    with pytest.raises(PetError, match=r"\.lock.*delete it"):
        FolderLock(folder).acquire()
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_small_file_of_a_run_replaces_a_link(tmp_path: Path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "metrics.json").symlink_to(tmp_path / "precious")
    write_atomically(tmp_path / "metrics.json", "{}")
    assert not (tmp_path / "metrics.json").is_symlink()
    assert (tmp_path / "precious").read_text() == "precious" and (tmp_path / "metrics.json").read_text() == "{}"


def test_an_output_does_not_create_the_file_behind_a_dangling_link(tmp_path: Path):
    (tmp_path / "labels.jsonl").symlink_to(tmp_path / "absent")
    with pytest.raises(PetError, match=r"labels\.jsonl.*link"):
        check_output(tmp_path / "labels.jsonl", [".jsonl"])


def test_a_planted_link_to_an_old_folder_is_not_restored(tmp_path: Path, victim: Path):
    (tmp_path / ".old-new").symlink_to(victim)
    place = check_new_folder(tmp_path / "new")
    with writing_folder(place) as beside:
        (beside / "file").write_text("mine")
    assert not place.is_symlink() and (victim / "file").read_text() == "precious"


def test_an_output_folder_that_is_a_link_stays_one(tmp_path: Path):
    (tmp_path / "big").mkdir()
    (tmp_path / "small").symlink_to(tmp_path / "big")
    for text in ("old", "new"):
        with writing_folder(
            check_new_folder(tmp_path / "small", force=True, replaceable=lambda _: True), replace=True
        ) as f:
            (f / "file").write_text(text)
    assert (tmp_path / "small").is_symlink() and (tmp_path / "big" / "file").read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == ["big", "small"]


def test_reading_a_pipe_without_a_writer_ends(tmp_path: Path):
    os.mkfifo(tmp_path / "task.yaml")
    assert read_bytes(tmp_path / "task.yaml", "task.yaml", 10) == b""
    reading, writing = os.pipe()
    os.write(writing, b"text")
    os.close(writing)
    assert read_bytes(Path(f"/dev/fd/{reading}"), "stdin", 10) == b"text"
    os.close(reading)
