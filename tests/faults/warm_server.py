"""A process that has imported everything and starts each command in a fork of itself.

Reads one JSON object per line from standard input: ``arguments`` and ``folder``, and optionally ``fail`` (the number
of the call to fail), ``error``, ``signal`` with ``after`` seconds and ``to_worker``, and ``seconds``, the time limit.
Answers each with one line: ``status`` (negative: ended by this signal; None: hung), ``said``, ``calls`` (the log of
`shim.c`, if it is preloaded), ``orphans``, the number of its processes that outlive it by `PATIENCE`, and ``seconds``.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import signal
import sys
import tempfile
import time
from typing import Any

PATIENCE = 30.0  # seconds
# What a run imports: each command would otherwise take seconds to start.
MODULES = (
    *("pet.cli.main", "pet.cli.run", "pet.run.pipeline", "pet.run.load_run", "pet.run.execution.start"),
    *("pet.inference.label_file", "pet.inference.predict_file", "pet.inference.distill_file", "pet.data.draw"),
    *("pet.members.models", "pet.student.distill", "pet.tuning.soft", "pet.report.card"),
    *("datasets", "pyarrow.parquet", "safetensors.torch", "sklearn.metrics"),
    *("transformers.models.bert.modeling_bert", "transformers.models.bert.tokenization_bert"),
)


def serve() -> None:
    from pet import lean_imports

    lean_imports.allow()  # as the command
    for name in MODULES:
        importlib.import_module(name)
    gc.freeze()  # the collector of a fork does not look at what is imported
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as calls:
        begun = time.monotonic()
        child = os.fork()
        if child == 0:
            run(request, said.fileno(), calls.fileno())
        status = wait(child, request, begun)
        seconds = time.monotonic() - begun
        found: dict[str, Any] = {"status": status, "seconds": round(seconds, 3), "orphans": end_orphans(child)}
        for name, file in (("said", said), ("calls", calls)):
            file.seek(0)
            found[name] = file.read().decode("utf-8", "replace")
    return found


def wait(child: int, request: dict[str, Any], begun: float) -> int | None:
    """Wait for a child, send a signal at its moment, and kill the child when its time is over."""
    send = request.get("signal")
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        passed = time.monotonic() - begun
        if send is not None and passed >= request["after"]:
            to = session_of(child) - {child} if request.get("to_worker") else {child}
            if to:
                os.kill(min(to), send)
                send = None
        if passed > request["seconds"]:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.002)


def session_of(leader: int) -> set[int]:
    """Processes of a session."""
    found = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.getsid(int(name)) == leader:
                found.add(int(name))
    return found


def end_orphans(leader: int) -> int:
    """Wait for the rest of a session to end, then kill it; return how many there were to kill."""
    until = time.monotonic() + PATIENCE
    while (rest := session_of(leader)) and time.monotonic() < until:
        time.sleep(0.02)
    for process in rest:
        with contextlib.suppress(OSError):
            os.kill(process, signal.SIGKILL)
    return len(rest)


def run(request: dict[str, Any], said: int, calls: int) -> None:
    """Run the command in this process, which is a fork, and end it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # until the command can handle it
    os.setsid()  # its workers can be found
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(said, 1)
    os.dup2(said, 2)
    status: object = 1
    try:
        from pet.cli.main import main

        library = ctypes.CDLL(None)
        if hasattr(library, "fault_arm"):
            number, error = request.get("fail", 0), request.get("error", 0)
            library.fault_arm(os.fsencode(request["folder"]), ctypes.c_long(number), error, calls)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        main(request["arguments"])
    except SystemExit as stop:
        status = stop.code
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 0 if status is None else 1)


if __name__ == "__main__":
    serve()
