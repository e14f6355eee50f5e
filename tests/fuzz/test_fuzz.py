"""A sample of the fuzzing, and the inputs that once found a bug. ``fuzz.py`` does the rest."""

from __future__ import annotations

import random
import signal
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
if not hasattr(signal, "SIGALRM"):
    pytest.skip("the time limit of the fuzz targets needs SIGALRM", allow_module_level=True)

import fuzz_targets
from fuzz import corpus
from fuzz_inputs import mutate, seeds
from fuzz_targets import TARGETS, Failure, check

from pet.errors import PetError


@pytest.mark.parametrize("target", [target for target in TARGETS if target != "options"])
def test_sound_inputs_have_a_value(target: str) -> None:
    assert {check(target, data) for data in seeds(target)} == {"value"}


@pytest.mark.parametrize("target", TARGETS)
def test_inputs_that_found_a_bug_have_a_value_or_one_message(target: str) -> None:
    for data in corpus(target):
        check(target, data)


@pytest.mark.parametrize("target", TARGETS)
def test_a_sample_of_changed_inputs_has_a_value_or_one_message(target: str) -> None:
    draw, pool = random.Random(0), seeds(target)
    for _ in range({"options": 10, "exported": 15}.get(target, 40)):
        check(target, mutate(draw.choice(pool), pool, draw))


def _writes_elsewhere(folder: Path, data: bytes) -> None:
    (folder.parent / "elsewhere").write_bytes(data)


def _makes_a_process(folder: Path, data: bytes) -> None:
    import subprocess

    subprocess.run([sys.executable, "-c", ""], check=True)


def _long_message(folder: Path, data: bytes) -> None:
    raise PetError("one line\nand another")


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (lambda folder, data: data.decode(), "UnicodeDecodeError"),
        (lambda folder, data: time.sleep(5), "no answer"),
        (_writes_elsewhere, "outside its folder"),
        (_makes_a_process, "outside its folder"),
        (_long_message, "a message of"),
    ],
)
def test_the_oracle_finds_what_it_looks_for(target: object, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fuzz_targets.TARGETS, "broken", target)
    with pytest.raises(Failure, match=found):
        check("broken", b"\xff", limit=0.5 if found == "no answer" else 60)
