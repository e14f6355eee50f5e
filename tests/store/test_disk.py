"""Errors of disks are one message that names the file and the reason, whichever library reports them."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from tokenizers import Tokenizer, models

from pet.errors import PetError
from pet.progress import Reporter
from pet.store.directory import RunDirectory
from pet.store.disk import disk_problem
from pet.store.files import writing
from pet.store.outputs import writing_folder
from pet.store.tables import OutputColumn, writing_table

resource = pytest.importorskip("resource")


def tokenizer(path: Path) -> None:
    Tokenizer(models.WordLevel({f"word{i}": i for i in range(1000)}, "word0")).save(str(path))


def rows(path: Path) -> None:
    with writing_table(path, [OutputColumn("x", pa.int64())]) as table:
        table.write({"x": np.arange(5000)})


WRITERS: dict[str, Callable[[Path], object]] = {
    "model.safetensors": lambda path: save_file({"a": torch.zeros(5000)}, path),
    "labels.parquet": lambda path: pq.write_table(pa.table({"x": np.random.default_rng(0).random(5000)}), path),
    "scores.npy": lambda path: np.save(path, np.zeros(5000)),
    "tokenizer.json": tokenizer,
    "note.json": lambda path: path.write_text("x" * 20000),
    "rows.jsonl": rows,
}


@contextmanager
def small_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def few_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open(os.devnull) as free:
        lowest = free.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextmanager
def another_user(folder: Path) -> Iterator[None]:
    """Write to a folder without permission; root has it everywhere and becomes another user."""
    folder.chmod(0o500)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)


FAULTS: dict[str, tuple[int, Callable[[Path], object]]] = {
    "ulimit -f": (errno.EFBIG, lambda folder: small_files()),
    "ulimit -n": (errno.EMFILE, lambda folder: few_files()),
    "permission": (errno.EACCES, another_user),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", WRITERS)
def test_a_fault_of_any_writer_is_one_message_and_leaves_nothing(tmp_path: Path, name: str, fault: str):
    code, inject = FAULTS[fault]
    with pytest.raises(PetError) as caught, writing_folder(tmp_path / "student") as beside, inject(beside):  # type: ignore[attr-defined]
        WRITERS[name](beside / name)
    (problem,) = caught.value.problems
    assert "student" in problem and fault in problem
    assert os.strerror(code) in problem or name == "scores.npy"  # NumPy does not report the reason
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("fault", ["ulimit -f", "ulimit -n"])
def test_a_fault_in_a_stage_or_a_file_leaves_the_old_one(tmp_path: Path, fault: str):
    (tmp_path / "old.safetensors").write_text("old")
    with RunDirectory(tmp_path / "run", {"a": 1}, reporter=Reporter("quiet", io.StringIO())) as run:

        def build(folder: Path) -> None:
            with FAULTS[fault][1](folder):  # type: ignore[attr-defined]
                WRITERS["model.safetensors"](folder / "model.safetensors")

        with pytest.raises(PetError, match=rf"g0/p1-r1 in .*{fault}"):
            run.stage("g0/p1-r1", {}, build)
    with (
        pytest.raises(PetError, match=rf"old\.safetensors.*{fault}"),
        FAULTS[fault][1](tmp_path),  # type: ignore[attr-defined]
        writing(tmp_path / "old.safetensors") as place,
    ):
        WRITERS["model.safetensors"](place)
    assert (tmp_path / "old.safetensors").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["old.safetensors", "run"]


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EROFS, errno.ENFILE, errno.EDQUOT, errno.ENOSPC])
def test_errors_of_disks_are_recognized_as_numbers_and_as_text(code: int):
    text = f"I/O error: {os.strerror(code)} (os error {code})"
    torch_says = RuntimeError(f"unable to open file </g0/model.safetensors>: {os.strerror(code)} ({code})")
    errors = [OSError(code, os.strerror(code)), SafetensorError(text), OSError(f"[Errno {code}] Detail"), torch_says]
    wrapped = RuntimeError("cannot save")
    wrapped.__cause__ = errors[0]
    for error in (*errors, wrapped):
        message = disk_problem(error, "write g0/labels")
        assert message is not None and "write g0/labels" in message
        assert "full" in message if code in (errno.EDQUOT, errno.ENOSPC) else os.strerror(code) in message


def test_other_errors_are_not_errors_of_disks():
    handled = ValueError("wrong shape")
    handled.__context__ = PermissionError(errno.EACCES, "Permission denied")  # tried before, and not the reason
    for error in (
        handled,
        ValueError("x"),
        RuntimeError("Wrong shape (5)"),
        FileNotFoundError(errno.ENOENT, "No such file"),
        PetError("os error 5"),
    ):
        assert disk_problem(error, "write x") is None
