"""Temporary folders: private, with modes from the umask, and removed after a kill, but never while in use."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pet.store import temporary
from pet.store.files import write_atomically, writing
from pet.store.lock import FolderLock
from pet.store.outputs import check_new_folder, check_output, writing_folder
from pet.store.temporary import Scratch, remove_leftovers, temporary_folder

posix = pytest.mark.skipif(os.name == "nt", reason="modes and users of POSIX")

HOLD = """
import sys, time
from pathlib import Path
from pet.store.files import writing
from pet.store.outputs import writing_folder
from pet.store.temporary import Scratch
target = Path(sys.argv[1])
if target.name == "scratch":
    scratch = Scratch(target.parent)
    print("begun", flush=True)
    time.sleep(100)
with (writing if target.suffix else writing_folder)(target) as place:
    (place if target.suffix else place / "file").write_text("half")
    print("begun", flush=True)
    time.sleep(100)
"""


def start(target: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(target)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    return process


def leftovers(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".tmp-")]


@pytest.mark.parametrize("name", ["labels.jsonl", "student", "scratch"])
def test_what_a_killed_process_left_is_removed_by_the_next_call_and_not_before_it_ends(tmp_path: Path, name: str):
    process = start(tmp_path / name)
    try:
        check_output(tmp_path / "other.jsonl", [".jsonl"])
        check_new_folder(tmp_path / "another")
        assert len(leftovers(tmp_path)) == 1  # it is in use
    finally:
        process.kill()
        process.wait(timeout=60)
    assert len(leftovers(tmp_path)) == 1
    if name == "scratch":
        Scratch(tmp_path).close()
    elif name == "student":
        check_new_folder(tmp_path / name)
    else:
        check_output(tmp_path / name, [".jsonl"])
    assert os.listdir(tmp_path) == []


def dead(parent: Path, holder: str = f" 99999999 {temporary.this_machine()}\n") -> Path:
    folder = parent / ".tmp-0123456789abcdef-labels.jsonl"
    folder.mkdir(mode=0o700)
    (folder / ".lock").write_text(holder)
    (folder / "labels.jsonl").write_text("half")
    return folder


def test_a_folder_of_another_machine_is_removed_only_after_a_month_without_a_change(tmp_path: Path):
    for holder in (" 1 elsewhere\n", ""):
        folder = dead(tmp_path, holder)
        remove_leftovers(tmp_path)
        assert folder.is_dir()
        for path in (*folder.iterdir(), folder):
            os.utime(path, (time.time() - 31 * 86400,) * 2)
        os.utime(folder / "labels.jsonl")
        remove_leftovers(tmp_path)
        assert folder.is_dir()
        os.utime(folder / "labels.jsonl", (time.time() - 31 * 86400,) * 2)
        remove_leftovers(tmp_path)
        assert not folder.exists()


def test_a_locked_folder_is_kept_however_old_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = dead(tmp_path)
    lock = FolderLock(folder)
    lock.acquire()
    monkeypatch.setattr(temporary, "_ABANDONED", -1.0)
    remove_leftovers(tmp_path)
    assert folder.is_dir()
    lock.release()
    remove_leftovers(tmp_path)
    assert not folder.exists()


def test_without_locks_nothing_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fcntl = pytest.importorskip("fcntl")

    def unsupported(*args: object) -> None:
        raise OSError(95, "Operation not supported")

    folder = dead(tmp_path)
    monkeypatch.setattr(fcntl, "flock", unsupported)
    remove_leftovers(tmp_path)
    assert folder.is_dir()


@posix
def test_links_files_and_folders_of_other_users_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    victim = tmp_path / "victim"
    victim.mkdir()
    dead(victim)
    (tmp_path / ".tmp-0123456789abcdef-link").symlink_to(victim / ".tmp-0123456789abcdef-labels.jsonl")
    (tmp_path / ".tmp-0123456789abcdef-file").write_text("mine")
    (tmp_path / ".tmp-precious").mkdir()
    remove_leftovers(tmp_path)
    assert len(leftovers(tmp_path)) == 3 and leftovers(victim)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    remove_leftovers(victim)
    assert leftovers(victim)


@posix
def test_temporary_names_are_random_and_only_their_owner_can_enter(tmp_path: Path):
    names = set()
    for _ in range(3):
        with writing(tmp_path / "a.jsonl") as place:
            place.write_text("x")
            names.add(place.parent.name)
            assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    assert len(names) == 3 and os.listdir(tmp_path) == ["a.jsonl"]


def test_links_at_the_names_of_earlier_versions_are_not_followed(tmp_path: Path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / f".tmp-{os.getpid()}-a.jsonl").symlink_to(tmp_path / "precious")
    write_atomically(tmp_path / "a.jsonl", "mine")
    assert (tmp_path / "precious").read_text() == "precious"


@posix
@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_all_files_and_folders_follow_the_umask_alike(tmp_path: Path, mask: int):
    before = os.umask(mask)
    try:
        with writing_folder(tmp_path / "student") as beside:
            save_file({"a": torch.zeros(3)}, beside / "model.safetensors")
            (beside / "config.json").write_text("{}")
            (beside / "deep").mkdir()
        write_atomically(tmp_path / "metrics.json", "{}")
        with writing(tmp_path / "weights.safetensors") as place:
            save_file({"a": torch.zeros(3)}, place)
    finally:
        os.umask(before)
    made = list(tmp_path.rglob("*"))
    assert len(made) == 6
    for path in made:
        wanted = (0o777 if path.is_dir() else 0o666) & ~mask
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_a_temporary_folder_is_removed_with_everything_in_it(tmp_path: Path):
    with temporary_folder(tmp_path, "x" * 200) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("x")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="requires fork")
def test_a_forked_process_leaves_the_folder_of_its_parent(tmp_path: Path):
    scratch = Scratch(tmp_path)
    child = os.fork()
    if child == 0:
        scratch.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert scratch.path.is_dir()
    remove_leftovers(tmp_path)
    assert scratch.path.is_dir()  # the lock is still held
    path = scratch.path
    del scratch
    assert not path.exists()
