"""Errors that mean that memory, threads or files ran out, and what is said about them."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import refused, write_workplace

import pet as package
from pet.cli.main import COMMANDS, COMPUTING
from pet.errors import PetError
from pet.shortage import check_address_space, shortage

limited = pytest.mark.skipif(sys.platform != "linux", reason="limits address space as Linux does")


def caught(code: str) -> BaseException:
    with pytest.raises(BaseException) as raised:
        exec(code, {"np": np, "torch": torch})
    return raised.value


@pytest.mark.parametrize("code", ["torch.empty(1 << 55)", "np.empty(1 << 55)", "bytearray(1 << 60)", "[0] * (1 << 60)"])
def test_allocations_that_fail_are_recognized(code: str):
    assert "memory" in (shortage(caught(code)) or "")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("could not create a primitive", "smaller batches"),
        ("could not create a memory object", "smaller batches"),
        ("std::bad_alloc", "smaller batches"),
        ("unable to mmap 57360008 bytes from file <m>: Cannot allocate memory (12)", "smaller batches"),
        (
            "[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory: you tried",
            "smaller batches",
        ),
        ("CUDA error: out of memory", "smaller batches"),
        ("can't start new thread", "ulimit -u"),
    ],
)
def test_texts_of_libraries_are_recognized(text: str, named: str):
    assert named in (shortage(RuntimeError(text)) or "")


def test_the_errors_that_an_error_was_raised_from_are_looked_at():
    try:
        try:
            raise ImportError("libgfortran.so.5: failed to map segment from shared object")
        except ImportError as error:
            raise RuntimeError("cannot import numpy") from error
    except RuntimeError as error:
        assert "memory" in (shortage(error) or "")


def test_too_many_open_files_are_recognized():
    assert "ulimit -n" in (shortage(OSError(errno.EMFILE, "Too many open files")) or "")


@pytest.mark.parametrize("error", [ValueError("no such label"), OSError(errno.ENOENT, "no file"), PetError("memory")])
def test_other_errors_are_not(error: BaseException):
    assert shortage(error) is None


def test_the_commands_that_need_memory_are_commands():
    assert set(COMMANDS) > COMPUTING


@limited
def test_a_limit_below_the_needs_of_torch_is_named(monkeypatch: pytest.MonkeyPatch):
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (700 << 20, 700 << 20))
    with pytest.raises(PetError, match=r"0\.7 GB.*ulimit -v"):
        check_address_space()
    assert "0.7 GB" in (shortage(MemoryError()) or "")


def run_limited(megabytes: int, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the command with a limit on its address space."""
    program = (
        f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({megabytes} << 20,) * 2); "
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); from pet.cli.main import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=Path(package.__file__).parents[1],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@limited
def test_a_command_with_too_little_address_space_ends_at_once(tmp_path: Path):
    done = run_limited(500, ["predict", "nowhere", "--input", "t.jsonl", "-o", str(tmp_path / "p.csv")])
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "ulimit -v" in done.stderr
    assert "Usage" in run_limited(500, ["run", "--help"]).stdout


@limited
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("command", ["predict", "label", "run"])
def test_under_any_limit_a_command_works_or_says_what_is_missing(command: str, tiny_model: Path, tmp_path: Path):
    """Twelve sizes, from too small to import the libraries to large enough."""
    write_workplace(tmp_path, tiny_model)
    run, data = str(tmp_path / "runs" / "reviews"), str(tmp_path / "test.jsonl")
    told = []
    for number, megabytes in enumerate((300, 1250, 1350, 1450, 1550, 1650, 1750, 1900, 2050, 2200, 2600, 4000)):
        output = tmp_path / f"out-{number}"
        arguments = {
            "predict": ["predict", run, "--input", data, "-o", f"{output}.csv"],
            "label": ["label", run, "--input", data, "-o", f"{output}.jsonl"],
            "run": ["run", str(tmp_path / "runs" / "reviews" / "config.yaml"), "-o", str(output), "--device", "cpu"],
        }[command]
        done = run_limited(megabytes, arguments)
        told.append((megabytes, done.returncode, done.stderr[-300:]))
        assert done.returncode in (0, 2), told[-1]
        assert "Traceback" not in done.stderr, told[-1]
        if done.returncode == 2:
            assert "ulimit" in done.stderr, told[-1]
            assert command == "run" or not list(tmp_path.glob(f"*out-{number}*")), told[-1]
    assert told[0][1] == 2 and told[-1][1] == 0, told


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (OSError(errno.EFBIG, "File too large", "out.csv"), ["out.csv", "ulimit -f"]),
        (RuntimeError("could not create a primitive"), ["out of memory"]),
        (OSError(errno.EMFILE, "Too many open files"), ["ulimit -n"]),
        (ValueError("std::bad_alloc"), ["out of memory"]),
    ],
    ids=str,
)
def test_the_command_prints_one_line_with_the_cure(monkeypatch: pytest.MonkeyPatch, error: Exception, named: list[str]):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("pet.cli.tasks.tasks.callback", fail)
    message = refused("tasks")
    assert message.count("\n") == 1
    assert all(word in message for word in named)
