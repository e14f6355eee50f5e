"""Random hostile folders: whatever is planted in a run, opening it only gives a result or a message.

``PET_TREES=2000 pytest tests/store/test_hostile_trees.py`` tries more of them.
"""

from __future__ import annotations

import io
import os
import random
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pet.errors import PetError
from pet.progress import Reporter
from pet.store.directory import RunDirectory
from pet.store.files import write_atomically
from pet.store.recorded import check_recorded
from pet.store.tree import check_inside

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="links and pipes of POSIX")
TREES = int(os.environ.get("PET_TREES", "40"))
NAMES = [
    *(".lock", "config.yaml", "manifest.json", "metrics.json", "report.html", ".tmp-a", ".tmp-g0--labels", ".old-g0"),
    *(
        "g0",
        "g0/labels.jsonl",
        "g0/p1-r1",
        "g0/p1-r1/model",
        "g0/p1-r1/deep",
        "g0/p1-r1/.tmp-x",
        "student",
        "g1",
        "new",
    ),
]


def build(path: Path) -> None:
    def member(folder: Path) -> None:
        (folder / "model").write_text("weights")
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("x")

    def labels(folder: Path) -> None:
        (folder / "labels.jsonl").write_text("l")

    with RunDirectory(path, {"task": "t"}, reporter=Reporter("quiet", io.StringIO())) as run:
        run.stage("g0/p1-r1", {}, member)
        run.stage("g0/labels", {}, labels, files=["labels.jsonl"])
        run.stage("g1/p1-r1", {}, member)
        run.stage("student", {}, member)
        for name in ("metrics.json", "report.html"):
            write_atomically(path / name, "{}")


def pipe(place: Path, victim: Path, draw: random.Random) -> None:
    os.mkfifo(place)


def door(place: Path, victim: Path, draw: random.Random) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(place.parent)  # names of sockets must be short
        try:
            listening.bind(place.name)
        finally:
            os.chdir(here)


def link(place: Path, victim: Path, draw: random.Random) -> None:
    target = draw.choice([victim, victim / "file", victim / "g0", victim / "absent", Path("/dev/zero")])
    place.symlink_to(os.path.relpath(target, place.parent) if draw.random() < 0.5 else target)


def inner_link(place: Path, victim: Path, draw: random.Random) -> None:
    place.symlink_to(draw.choice([".", "..", "config.yaml", "deep", place.name, "g0/p1-r1"]))


def hard_link(place: Path, victim: Path, draw: random.Random) -> None:
    place.hardlink_to(victim / "file")


def folder(place: Path, victim: Path, draw: random.Random) -> None:
    place.mkdir()
    if draw.random() < 0.5:
        (place / "link").symlink_to(victim)


def garbage(place: Path, victim: Path, draw: random.Random) -> None:
    place.write_bytes(draw.randbytes(draw.randrange(200)))


PLANTS: list[Callable[[Path, Path, random.Random], None]] = [
    *(pipe, door, link, link, link, inner_link, hard_link, folder, garbage)
]


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    def late(number: int, frame: object) -> None:
        raise TimeoutError("hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def state(path: Path) -> dict[str, tuple[bytes, int, int]]:
    """Content, mode and time of change of everything in a folder."""
    return {
        str(place): (place.read_bytes() if place.is_file() else b"", place.lstat().st_mode, place.lstat().st_mtime_ns)
        for place in path.rglob("*")
    }


def plant(run: Path, victim: Path, draw: random.Random) -> list[str]:
    planted = []
    for name in draw.sample(NAMES, draw.choice([1, 1, 2, 4])):
        place = run / name
        if os.path.realpath(place.parent) != str(place.parent) or not place.parent.is_dir():
            continue  # behind another link
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
        how = draw.choice(PLANTS)
        how(place, victim, draw)
        planted.append(f"{name}: {how.__name__}")
    return planted


def test_nothing_outside_of_a_hostile_run_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    whole, victim = tmp_path / "whole", tmp_path / "victim"
    build(whole)
    build(victim)
    (victim / "file").write_text("precious")
    before, refused = state(victim), 0
    for number in range(TREES):
        draw, run = random.Random(number), tmp_path / f"run{number}"
        shutil.copytree(whole, run)
        planted = plant(run, victim, draw)
        for use in (lambda place: check_recorded(place / "g0" / "labels.jsonl"), check_inside, build):
            try:
                with at_most(20):
                    use(run)
            except PetError:
                refused += use is build
            except BaseException as error:
                raise AssertionError(f"tree {number} ({planted})") from error
        assert state(victim) == before, (number, planted)
        shutil.rmtree(run)
    assert TREES * 0.3 < refused < TREES
