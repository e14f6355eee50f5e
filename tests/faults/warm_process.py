"""Run commands in forks of a warm process, with the library of `shim.c` loaded if there is a compiler."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).resolve().parent
LIMIT = 240  # seconds after which a run has hung, on a busy machine


def compiler() -> str | None:
    """Return the C compiler, or None if there is none or if this system cannot preload libraries."""
    found = (path for name in ("cc", "gcc", "clang") if (path := shutil.which(name)))
    return next(found, None) if sys.platform == "linux" else None


def build_shim(folder: Path) -> Path:
    """Compile `shim.c`."""
    made = folder / "shim.so"
    flags = ["-shared", "-fPIC", "-O1", "-o", str(made), str(HERE / "shim.c"), "-ldl", "-lpthread"]
    subprocess.run([compiler() or "cc", *flags], check=True)
    return made


class Warm:
    """A process that has imported everything and starts each command in a fork of itself; see `warm_server.py`.

    Parameters
    ----------
    shim : what `build_shim` returned
    temporary : folder for temporary files
    """

    def __init__(self, shim: Path | None, temporary: Path):
        environment = {
            **os.environ,
            "TMPDIR": str(temporary),
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        environment |= {f"{library}_OFFLINE": "1" for library in ("HF_HUB", "HF_DATASETS", "TRANSFORMERS")}
        environment |= {} if shim is None else {"LD_PRELOAD": str(shim)}
        path = [str(HERE.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "warm_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment | {"PYTHONPATH": os.pathsep.join(path)},
        )
        self._hear()

    def ask(self, arguments: Iterable[object], folder: Path, **options: Any) -> dict[str, Any]:
        """Run a command and return the server's answer; `folder` is the one whose calls are counted."""
        self._tell({"arguments": [str(x) for x in arguments], "folder": str(folder), "seconds": LIMIT, **options})
        answer: dict[str, Any] = json.loads(self._hear())
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _tell(self, message: object) -> None:
        _open(self._process.stdin).write(json.dumps(message) + "\n")
        _open(self._process.stdin).flush()

    def _hear(self) -> str:
        return _open(self._process.stdout).readline()


def _open(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise RuntimeError("the process has no pipes")
    return stream
