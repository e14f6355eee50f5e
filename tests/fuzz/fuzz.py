"""Fuzz every target in turn: ``python tests/fuzz/fuzz.py --minutes 60 --log fuzz.jsonl``.

Each line of the log has the counts of one target for one turn: inputs, values, refusals, and the slowest input. Inputs
that found a bug are written to a folder, to become part of the corpus once the bug is mended.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}

from fuzz_inputs import mutate, seeds  # noqa: E402
from fuzz_targets import TARGETS, Failure, check, timed  # noqa: E402


def turn(target: str, pool: list[bytes], seconds: float, draw: random.Random, found: Path) -> dict[str, Any]:
    """Fuzz one target for some time; inputs that lead to a value join the pool."""
    counts: Counter[str] = Counter()
    slowest, begun = 0.0, time.monotonic()
    while time.monotonic() - begun < seconds:
        data = mutate(draw.choice(pool), pool, draw)
        counts["inputs"] += 1
        (found / "current").write_bytes(target.encode() + b"\n" + data)  # stays if the process crashes
        try:
            outcome, took = timed(target, data)
        except Failure as failure:
            counts["failures"] += 1
            name = hashlib.sha256(data).hexdigest()[:16]
            (found / f"{target}-{name}").write_bytes(data)
            (found / f"{target}-{name}.txt").write_text(f"{failure}\n", encoding="utf-8", errors="replace")
            continue
        counts[outcome] += 1
        slowest = max(slowest, took)
        if outcome == "value" and len(pool) < 500 and len(data) < 20_000:
            pool.append(data)
    (found / "current").unlink(missing_ok=True)
    return {"target": target, **counts, "slowest": round(slowest, 3), "seconds": round(time.monotonic() - begun, 1)}


def run(minutes: float, log: Path, found: Path, seed: int, targets: list[str], each: float = 20) -> None:
    """Fuzz the targets in turn and append the counts of each turn to the log."""
    found.mkdir(parents=True, exist_ok=True)
    if (found / "current").exists():  # the last process crashed
        (found / "current").rename(found / f"crash-{seed}")
    draw = random.Random(seed)
    pools = {target: [*seeds(target), *corpus(target)] for target in targets}
    for target, pool in pools.items():  # whatever is imported late would look slow
        for data in pool:
            check(target, data, limit=600)
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        for target in targets:
            counts = turn(target, pools[target], min(each, max(end - time.monotonic(), 0)), draw, found)
            with log.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"seed": seed, **counts}) + "\n")


def corpus(target: str) -> list[bytes]:
    """Return the inputs of the corpus that are kept for a target."""
    return [path.read_bytes() for path in sorted((HERE / "corpus" / target).glob("*"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--log", type=Path, default=Path("fuzz.jsonl"))
    parser.add_argument("--found", type=Path, default=Path("found"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", action="append", choices=list(TARGETS))
    given = parser.parse_args()
    run(given.minutes, given.log, given.found, given.seed, given.target or list(TARGETS))


if __name__ == "__main__":
    main()
