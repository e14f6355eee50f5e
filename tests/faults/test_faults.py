"""A run whose system calls fail, that is killed, or whose disk is full prints one message, resumes, and ends alike."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest
from fault_harness import Harness, all_faults, disk_sizes, fill, inject, kill
from warm_process import compiler

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="requires /proc and LD_PRELOAD"),
    pytest.mark.timeout(900),
]
needs_compiler = pytest.mark.skipif(compiler() is None, reason="requires a C compiler, for tests/faults/shim.c")


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    made = Harness(tmp_path_factory.mktemp("faults"))
    yield made
    made.warm.close()
    print({name: made.counts[name] for name in sorted(made.counts)})


def mounts() -> bool:
    """Whether this process may mount a file system."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "-o", "size=4096", "tmpfs", folder]
        if os.name == "nt" or os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
            return False
        return subprocess.run(["umount", folder]).returncode == 0


needs_mounts = pytest.mark.skipif(sys.platform == "linux" and not mounts(), reason="requires permission to mount")


@needs_compiler
def test_the_library_sees_the_calls_of_python_rust_and_cpp(harness: Harness) -> None:
    kinds = {name for name, _ in harness.calls}
    assert kinds >= {"open", "open to write", "write", "fsync", "rename", "mkdir", "remove"}
    written = [path for name, path in harness.calls if name == "write"]
    assert any(path.endswith(".parquet") for path in written)  # Arrow
    assert any(path.endswith("/tokenizer.json") for path in written)  # the tokenizers library
    assert any(path.endswith(".npy") for path in written)
    assert len(harness.calls) > 300


@needs_compiler
@pytest.mark.parametrize("kind", ["write", "rename", "open to write"])
def test_a_run_whose_call_fails_prints_one_message_and_resumes_to_the_same_bytes(harness: Harness, kind: str) -> None:
    faults = [fault for fault in all_faults(harness, 1) if harness.calls[fault[0]][0] == kind]
    inject(harness, *random.Random(kind).choice(faults))
    assert harness.wrong == []


def test_a_run_that_is_killed_resumes_to_the_same_bytes(harness: Harness) -> None:
    kill(harness, random.Random(0), kills=3)
    assert harness.wrong == []


@needs_mounts
def test_a_run_on_a_full_disk_resumes_on_a_larger_one(harness: Harness) -> None:
    sizes = disk_sizes(harness)
    fill(harness, sizes[6], sizes[-1])
    assert harness.wrong == [] and harness.counts["disks: full"] == 1


@pytest.mark.slow
@needs_compiler
@pytest.mark.timeout(6 * 3600)
def test_every_call_may_fail(harness: Harness) -> None:
    for fault in all_faults(harness, 1):
        inject(harness, *fault)
    assert harness.wrong == []


@pytest.mark.slow
@needs_mounts
@pytest.mark.timeout(3600)
def test_every_size_of_a_disk(harness: Harness) -> None:
    sizes = disk_sizes(harness)
    for size in sizes:
        fill(harness, size, sizes[-1])
    assert harness.wrong == [] and 0 < harness.counts["disks: full"] < harness.counts["disks"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("workers", [1, 2])
def test_many_kills(harness: Harness, workers: int) -> None:
    kill(harness, random.Random(workers), 10, f"kills of {workers}", ["--workers", str(workers)] if workers > 1 else [])
    assert harness.wrong == []
