"""A worker process: reads steps from standard input, one JSON line each, and makes their stages."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from pet import lean_imports
from pet.shortage import shortage
from pet.training.memory import own_process

Send = Callable[[dict[str, Any]], None]


class _Lines:
    """A text stream that sends each line as a message."""

    encoding = "utf-8"

    def __init__(self, send: Send):
        self._send = send
        self._rest = ""

    def write(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._send({"said": line})

    def flush(self) -> None:
        pass


def main() -> None:
    """Build stages until standard input ends. The first line names the run.

    Input lines: first ``{"payload": folder, "mode": mode of the reporter}``, then steps
    (`pet.run.execution.work.Step.to_dict`). Output lines: ``{"said": text}`` for messages; for each step, the result of
    `pet.run.execution.work.make_step`; or ``{"failed": traceback}``.
    """
    lean_imports.allow()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the leading process decides
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # output of libraries must not mix with the answers
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(sys.stdin, lines), daemon=True).start()

    def send(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    first = json.loads(lines.get())
    try:
        with own_process():
            _work(first, lines, send)
    except BaseException as error:
        message = shortage(error)
        send({"failed": traceback.format_exc()} if message is None else {"problems": [message]})


def _work(first: dict[str, Any], lines: queue.Queue[str], send: Send) -> None:
    from pet.progress import Reporter
    from pet.run.execution.payload import read_payload
    from pet.run.execution.work import Step, make_step

    reporter = Reporter(first["mode"], _Lines(send))  # type: ignore[arg-type]
    context = read_payload(Path(first["payload"]), reporter)
    while True:
        send(make_step(context, Step.from_dict(json.loads(lines.get()))))


def _listen(stream: IO[str], lines: queue.Queue[str]) -> None:
    for line in stream:
        lines.put(line)
    os._exit(0)  # the leading process is gone, so nobody would use the result
