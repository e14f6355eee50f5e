"""Files of a run are compared with the hashes in its manifest."""

from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path

import pytest

from pet.errors import PetError
from pet.progress import Reporter
from pet.store import recorded
from pet.store.directory import RunDirectory
from pet.store.recorded import check_recorded

FILES = ["labels.parquet"]


def open_run(path: Path, told: io.StringIO | None = None) -> RunDirectory:
    return RunDirectory(path, {"task": "t"}, reporter=Reporter("quiet", told or io.StringIO()))


def member(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"weights" * 100)
    (folder / "deep").mkdir()
    (folder / "deep" / "vocab.txt").write_text("words")


def labels(folder: Path) -> None:
    (folder / "labels.parquet").write_bytes(b"labels")


def build(path: Path, told: io.StringIO | None = None) -> None:
    with open_run(path, told) as run:
        run.stage("g0/p1-r1", {}, member)
        run.stage("g0/labels", {}, labels, files=FILES)


def rot(path: Path, at: int = 2) -> None:
    """Change one bit of a file and keep its size and times, as a failing disk does."""
    about, content = path.stat(), bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


@pytest.fixture(autouse=True)
def another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "_known", {})


@pytest.mark.parametrize("file", ["g0/p1-r1/model.safetensors", "g0/p1-r1/deep/vocab.txt", "g0/labels.parquet"])
def test_a_stage_with_one_changed_bit_is_named_and_built_again(tmp_path: Path, file: str):
    build(tmp_path)
    before = (tmp_path / file).read_bytes()
    rot(tmp_path / file)
    told = io.StringIO()
    build(tmp_path, told)
    assert (tmp_path / file).read_bytes() == before
    assert file in told.getvalue() and told.getvalue().count("warning") == 1


@pytest.mark.parametrize("place", ["g0/p1-r1", "g0/labels.parquet"])
def test_a_damaged_file_is_named_before_it_is_used_outside_of_its_run(tmp_path: Path, place: str):
    build(tmp_path)
    check_recorded(tmp_path / place)
    rot(next(path for path in (tmp_path / place / "model.safetensors", tmp_path / place) if path.is_file()))
    recorded._known.clear()
    with pytest.raises(PetError, match=rf"{place}.*pet run .*config\.yaml"):
        check_recorded(tmp_path / place)


def test_only_files_of_the_manifest_are_checked(tmp_path: Path):
    build(tmp_path / "run")
    (tmp_path / "run" / "mine.parquet").write_text("x")
    (tmp_path / "run" / "g0" / "p1-r1" / "notes").write_text("x")
    for path in ("run/mine.parquet", "run/g0/p1-r1", "run/g0", "absent", "."):
        check_recorded(tmp_path / path)


def test_a_manifest_without_hashes_still_opens(tmp_path: Path):
    build(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    for stage in manifest["stages"].values():
        stage["outputs"] = {file: [size] for file, (size, _) in stage["outputs"].items()}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    told = io.StringIO()
    build(tmp_path, told)
    check_recorded(tmp_path / "g0" / "p1-r1")
    assert told.getvalue() == ""


def test_a_file_is_read_once_a_process_unless_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    build(tmp_path)
    read: list[str] = []
    monkeypatch.setattr(recorded, "hash_file", lambda path: read.append(path.name) or "other")
    for _ in range(3):
        with pytest.raises(PetError):
            check_recorded(tmp_path / "g0" / "labels.parquet")
    assert read == ["labels.parquet"]
    (tmp_path / "g0" / "labels.parquet").write_bytes(b"slabel")
    with pytest.raises(PetError):
        check_recorded(tmp_path / "g0" / "labels.parquet")
    assert read == ["labels.parquet"] * 2


def test_a_file_on_a_bad_sector_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    build(tmp_path)

    def bad(path: Path) -> str:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(recorded, "hash_file", bad)
    with pytest.raises(PetError, match=r"labels\.parquet.*Input/output error"):
        check_recorded(tmp_path / "g0" / "labels.parquet")
    told = io.StringIO()
    build(tmp_path, told)
    assert "g0/labels" in told.getvalue() and "Input/output error" in told.getvalue()
