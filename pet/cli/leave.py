"""End the process of a command."""

from __future__ import annotations

import atexit
import os
import sys
import threading


def leave(status: object) -> None:
    """End this process without destroying every module and object first, which takes up to a second once torch is
    imported.

    Threads are waited for, and what is registered for the end of the process runs, such as the removal of temporary
    folders. Returns if the interpreter has something to report: a message as the status, or output that cannot be
    written.

    Parameters
    ----------
    status : the ``code`` of a SystemExit
    """
    if "torch" not in sys.modules or not (status is None or isinstance(status, int)):
        return
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except (OSError, ValueError):  # a full disk, or a closed pipe
        return
    os._exit(status or 0)
