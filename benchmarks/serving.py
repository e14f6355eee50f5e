"""Load test of `pet serve` on this machine: requests a second and waiting times at several numbers of clients.

    OMP_NUM_THREADS=1 python benchmarks/serving.py agnews runs/agnews/student

The server is a process of its own. Each client sends one text after another on one connection, and the texts are those
of the pool. Clients and server share the processors with everything else that runs, so wall times are lower bounds.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import common
import numpy as np


@click.command()
@click.argument("name", metavar="TASK")
@click.argument("model", type=click.Path(path_type=Path, exists=True))
@click.option("--clients", default="1,8,32", show_default=True, help="Numbers of clients at the same time.")
@click.option("--seconds", default=10.0, show_default=True, help="Time of each measurement.")
@click.option("--serve", "options", default="", help="More options of `pet serve`, separated by spaces.")
@common.data_option
@common.output_option(common.HERE / "results" / "serving.jsonl")
def main(
    name: str, model: Path, clients: str, seconds: float, options: str, data: Path, output: Path
) -> None:  # fmt: skip
    """Print a table, and append it to the results."""
    from pet.inference.classifier import open_classifier
    from pet.inference.options import ComputeOptions

    fields = open_classifier(str(model), ComputeOptions(), independent=True).classifier.text_input.fields
    rows = common.read_rows(data, name, "unlabeled", 512, fields)
    bodies = [json.dumps({"inputs": {field: row[field] for field in fields}}).encode("utf-8") for row in rows]
    command = [sys.executable, "-m", "pet", "serve", str(model), "--port", "0", "-q", *options.split()]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = urlsplit(process.stdout.readline().strip())
        place = str(address.hostname), int(address.port or 0)
        found = {}
        for count in map(int, clients.split(",")):
            before = _cpu_seconds(process.pid)
            row = asyncio.run(_measure(place, bodies, count, seconds))
            used = _cpu_seconds(process.pid) - before
            found[count] = row | {"per_cpu_second": round(row["requests"] / used, 1) if used else None}
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    figures = {"task": name, "options": options, "clients": found}
    common.record(output, "serving", 1, "wall", figures)
    names = ("per_second", "per_cpu_second", "median_ms", "p99_ms", "errors")
    click.echo("| clients | requests a second | a CPU second of the server | median ms | p99 ms | errors |")
    click.echo("|---|---|---|---|---|---|")
    for count, row in found.items():
        click.echo(f"| {count} | {' | '.join(str(row[name]) for name in names)} |")


def _cpu_seconds(process: int) -> float:
    """Return the processor time of a process so far (Linux; elsewhere 0): on a busy machine, wall time says little."""
    try:
        values = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


async def _measure(place: tuple[str, int], bodies: list[bytes], clients: int, seconds: float) -> dict[str, Any]:
    waits: list[float] = []
    statuses: list[int] = []
    end = time.perf_counter() + seconds

    async def client(first: int) -> None:
        reader, writer = await asyncio.open_connection(*place)
        for body in cycle(bodies[first:] + bodies[:first]):
            begun = time.perf_counter()
            if begun >= end:
                break
            statuses.append(await _request(reader, writer, place, body))
            waits.append(time.perf_counter() - begun)
        writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*(client(number * 7 % len(bodies)) for number in range(clients)))
    took = time.perf_counter() - begun
    return {
        "requests": len(waits),
        "per_second": round(len(waits) / took, 1),
        "median_ms": round(1000 * float(np.median(waits)), 1),
        "p99_ms": round(1000 * float(np.quantile(waits, 0.99)), 1),
        "errors": sum(status != 200 for status in statuses),
    }


async def _request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, place: tuple[str, int], body: bytes
) -> int:
    head = f"POST /predict HTTP/1.1\r\nHost: {place[0]}:{place[1]}\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode("ascii") + body)
    await writer.drain()
    answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = next(line for line in answer.splitlines() if line.startswith("content-length:"))
    await reader.readexactly(int(length.partition(":")[2]))
    return int(answer.split()[1])


if __name__ == "__main__":
    sys.exit(main())
