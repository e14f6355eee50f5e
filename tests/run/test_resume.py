"""A run that is killed and started again ends with the bytes of one that was not."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_run import contents, pet, refused, run_options, write_inputs, write_rows
from tiny_text import SENTENCES

import pet as package

pytestmark = pytest.mark.skipif(os.name == "nt", reason="has no SIGKILL")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inputs of the small run with a pool of some forty texts more."""
    folder = write_inputs(tmp_path_factory.mktemp("resume") / "in")
    texts = [{"id": f"s{i}", "text": line} for i, line in enumerate(SENTENCES.splitlines())]
    write_rows(folder / "pool.jsonl", texts)
    return folder


def options(inputs: Path, model: Path, folder: Path) -> list[str]:
    return [*run_options(inputs, model), "--set", "steps=6", "--set", "student_steps=8", "-o", str(folder)]


def start(inputs: Path, model: Path, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pet", *options(inputs, model, folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(package.__file__).parents[1],
    )


def kill_after(process: subprocess.Popen[str], news: int, seconds: float) -> bool:
    """Kill a process a moment after so many new lines of standard error; return False if it had ended."""
    assert process.stderr is not None
    for line in process.stderr:
        news -= "reusing" not in line
        if news < 0:
            break
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def uninterrupted(
    inputs: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, bytes], int]:
    """Files of an uninterrupted run, and its number of lines of standard error."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    said = pet(*options(inputs, tiny_model, folder)).stderr
    return contents(folder), len(said.splitlines())


def compare(found: dict[str, bytes], expected: dict[str, bytes]) -> None:
    assert sorted(found) == sorted(expected)
    assert [name for name in expected if found[name] != expected[name]] == []
    endings = (".npy", "labels.parquet", "labels.jsonl", "student/model.safetensors", "metrics.json")
    assert all(any(name.endswith(ending) for name in found) for ending in endings)


def killed_again_and_again(
    inputs: Path, model: Path, folder: Path, moments: Iterator[tuple[int, float]], expected: dict[str, bytes]
) -> int:
    """Kill a run at each moment and compare it once it has ended; return how many kills hit it.

    A run that ends before its kill is compared, too, and the next moment starts a new one: how many kills hit
    does not depend on the speed of the machine.
    """
    hits, runs = 0, 0
    for news, seconds in moments:
        with start(inputs, model, folder / str(runs)) as process:
            if kill_after(process, news, seconds):
                hits += 1
                continue
        assert process.returncode == 0
        compare(contents(folder / str(runs)), expected)
        runs += 1
    pet(*options(inputs, model, folder / str(runs)))
    compare(contents(folder / str(runs)), expected)
    print(f"{hits} kills hit, {runs + 1} runs compared")
    return hits


@pytest.mark.timeout(600)
def test_a_run_killed_at_several_moments_resumes_to_the_same_bytes(
    inputs: Path, tiny_model: Path, tmp_path: Path, uninterrupted: tuple[dict[str, bytes], int]
):
    expected, _ = uninterrupted
    # In the first member, between two stages, while scoring, and in the student.
    moments = iter([(0, 0.02), (2, 0.0), (4, 0.01), (3, 0.03)])
    assert killed_again_and_again(inputs, tiny_model, tmp_path, moments, expected) >= 3


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(4))
def test_a_run_killed_at_random_moments_resumes_to_the_same_bytes(
    inputs: Path, tiny_model: Path, tmp_path: Path, uninterrupted: tuple[dict[str, bytes], int], seed: int
):
    expected, lines = uninterrupted
    dice = random.Random(seed)
    # Mostly early in the remaining work, so that many kills happen before the run is complete.
    moments = ((min(int(dice.expovariate(0.4)), lines), dice.uniform(0, 0.15)) for _ in range(12))
    assert killed_again_and_again(inputs, tiny_model, tmp_path, moments, expected) >= 4


@pytest.mark.timeout(600)
def test_a_second_process_in_a_run_directory_is_refused(inputs: Path, tiny_model: Path, tmp_path: Path):
    with start(inputs, tiny_model, tmp_path / "run") as process:
        assert process.stderr is not None
        next(line for line in process.stderr if line.startswith("train"))  # it is working in the folder now
        process.send_signal(signal.SIGSTOP)  # and keeps it
        try:
            message = refused(*options(inputs, tiny_model, tmp_path / "run"))
            assert f"in use by process {process.pid}" in message
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.communicate()
