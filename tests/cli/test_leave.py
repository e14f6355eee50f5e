"""A command ends at once, but not before it has cleaned up."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import atexit, sys, threading, time, types
from pet.cli.leave import leave
sys.modules["torch"] = types.ModuleType("torch")

class Slow:
    def __del__(self):
        print("destroyed")

slow = Slow()
atexit.register(print, "cleaned up")
threading.Thread(target=lambda: (time.sleep(0.05), print("thread"))).start()
print("result")
leave({status})
print("the interpreter ends the process")
"""


@pytest.mark.parametrize(("status", "code"), [("None", 0), ("2", 2)])
def test_threads_and_clean_up_come_before_the_end(status: str, code: int) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM.replace("{status}", status)], capture_output=True, text=True)
    assert done.returncode == code
    assert done.stdout.split("\n") == ["result", "thread", "cleaned up", ""]


def test_the_interpreter_prints_a_message_and_reports_output_that_is_lost() -> None:
    message = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{status}", "'why'")], capture_output=True, text=True
    )
    assert "the interpreter ends the process" in message.stdout
    if sys.platform == "linux":
        with open("/dev/full", "w") as full:
            lost = subprocess.run(
                [sys.executable, "-c", PROGRAM.replace("{status}", "0")], stdout=full, stderr=subprocess.PIPE
            )
        assert lost.returncode and b"No space left" in lost.stderr
