"""Make system calls of a small run fail, kill it, and fill its disk; then resume it and compare every byte.

As a program, ``python tests/faults/fault_harness.py --faults 2 --kills 400 --worker-kills 50 --disks`` prints a line of
JSON for everything that goes wrong, and the counts at the end. `test_faults.py` tries samples.
"""

from __future__ import annotations

import argparse
import errno
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the tests' own modules, also when this is a program

from families import build_family
from small_run import QUICK, contents, write_inputs
from warm_process import Warm, build_shim, compiler

# The errors that each kind of call can have.
ERRORS = {
    "open": (errno.EACCES, errno.EMFILE, errno.EIO),
    "open to write": (errno.ENOSPC, errno.EACCES, errno.EMFILE, errno.EIO),
    "write": (errno.ENOSPC, errno.EIO),
    "fsync": (errno.EIO, errno.ENOSPC),
    "rename": (errno.EACCES, errno.EIO, errno.ENOSPC),
    "mkdir": (errno.EACCES, errno.ENOSPC, errno.EIO),
    "truncate": (errno.ENOSPC, errno.EIO),
    "allocate": (errno.ENOSPC, errno.EIO),
}
OTHERS = (errno.EACCES, errno.EIO)  # of the calls that remove, link and change modes
SETTINGS = [*QUICK, "--set", "steps=2", "--set", "student_steps=2", "-q"]


class Harness:
    """A small run, the files that it makes if nothing happens, and a warm process to run it in.

    Attributes
    ----------
    counts : what was tried, by kind
    wrong : what went wrong
    calls : kind and path of every call of an uninterrupted run that can fail
    seconds : duration of an uninterrupted run
    """

    def __init__(self, base: Path):
        self.cases, self.temporary = base / "cases", base / "temporary"
        self.inputs, self.model = write_inputs(base / "in"), build_family("bert", base / "model")
        for folder in (self.cases, self.temporary):
            folder.mkdir()
        self.counts: Counter[str] = Counter()
        self.wrong: list[dict[str, Any]] = []
        self.warm = Warm(build_shim(base) if compiler() else None, self.temporary)
        whole = self.run()
        if whole["status"] != 0:
            raise RuntimeError(whole["said"])
        self.expected, self.names, self.untouched = contents(self.cases / "run"), names(self.cases), self._fingerprint()
        self.check("uninterrupted", whole)
        self.seconds = float(whole["seconds"])
        logged = (line.split("\t", 2) for line in whole["calls"].splitlines())
        self.calls = [(name, path) for number, name, path in logged if number != "0"]

    def arguments(self, folder: Path) -> list[str]:
        files = {"train": "train.jsonl", "unlabeled": "pool.jsonl", "test": "test.jsonl"}
        data = [text for option, file in files.items() for text in (f"--{option}", str(self.inputs / file))]
        task = str(self.inputs / "task.yaml")
        return ["run", task, *data, "--model", str(self.model), *SETTINGS, "-o", str(folder)]

    def run(self, more: Iterable[str] = (), place: Path | None = None, **options: Any) -> dict[str, Any]:
        """Start or resume the run, in the folder ``run`` of a place."""
        place = place or self.cases
        return {"place": place, **self.warm.ask([*self.arguments(place / "run"), *more], place, **options)}

    def clear(self) -> None:
        shutil.rmtree(self.cases)
        self.cases.mkdir()

    def check(
        self, what: str, answer: dict[str, Any], allowed: Iterable[int] = (0,), names: bool = True, **about: Any
    ) -> None:
        """Check how a run ended, what it printed and touched and, after status 0, what it made; print what is wrong."""
        found = _said_wrong(answer, allowed)
        found += ["touched a file elsewhere"] if self._fingerprint() != self.untouched else []
        logged = (line.split("\t", 2) for line in answer["calls"].splitlines())
        elsewhere = {path for number, _, path in logged if number == "0"}
        found += [f"changed {path}" for path in elsewhere if not path.startswith(str(self.temporary))]
        if answer["status"] == 0:
            found += self._files_wrong(answer["place"], names)
        if found:
            self.counts["wrong"] += 1
            self.wrong.append({"what": what, "problems": found, **about, "said": answer["said"][-2000:]})
            print(json.dumps(self.wrong[-1]), flush=True)

    def _files_wrong(self, place: Path, by_name: bool) -> list[str]:
        made = contents(place / "run")
        different = [name for name, content in self.expected.items() if made.get(name) != content]
        others = sorted(names(place) ^ self.names) if by_name else []
        return [f"{what}: {', '.join(some)}" for what, some in (("bytes", different), ("files", others)) if some]

    def _fingerprint(self) -> list[tuple[str, int, int]]:
        """Names, sizes and times of what a run reads, and of what is left among the temporary files."""
        files = [path for place in (self.inputs, self.model, self.temporary) for path in sorted(place.rglob("*"))]
        return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]


def names(folder: Path) -> frozenset[str]:
    """Everything below a folder, except the run's lock, which stays after a kill."""
    return frozenset(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.name != ".lock")


def _said_wrong(answer: dict[str, Any], allowed: Iterable[int]) -> list[str]:
    said, status = answer["said"], answer["status"]
    messages = sum(line.startswith("error:") for line in said.splitlines())
    found = ["hung"] if status is None else []
    found += ["traceback"] if "Traceback" in said else []
    found += [f"status {status}"] if status is not None and status not in allowed else []
    found += [f"{messages} messages"] if status == 2 and messages != 1 else []
    found += [f"left {answer['orphans']} processes"] if answer["orphans"] else []
    return found


def inject(harness: Harness, number: int, error: int) -> None:
    """Make one call of a run fail; then resume it."""
    name, path = harness.calls[number]
    about = {"call": number + 1, "name": name, "path": path, "error": errno.errorcode[error]}
    harness.clear()
    answer = harness.run(fail=number + 1, error=error)
    harness.counts[f"{name} {errno.errorcode[error]}"] += 1
    harness.counts["faults"] += 1
    harness.counts["faults tolerated"] += answer["status"] == 0
    harness.check("fault", answer, (0, 2), names=False, **about)  # a leftover may stay until the next start
    harness.check("resumed after a fault", harness.run(), **about)


def all_faults(harness: Harness, passes: int) -> list[tuple[int, int]]:
    """Return call and error of `passes` faults at every call, each with another error, as far as there are any."""
    found = []
    for number, (name, _) in enumerate(harness.calls):
        errors = ERRORS.get(name, OTHERS)
        found += [(number, errors[(number + turn) % len(errors)]) for turn in range(min(passes, len(errors)))]
    return found


def kill(harness: Harness, dice: random.Random, kills: int, what: str = "kills", more: Iterable[str] = ()) -> None:
    """Kill a run at random moments, several times in a row, and compare it when it ends; until `kills` have hit."""
    harness.clear()
    hits = 0
    while hits < kills:
        number = dice.choices([signal.SIGKILL, signal.SIGTERM, signal.SIGINT], [8, 1, 1])[0]
        after = dice.uniform(0, harness.seconds * dice.choice([0.15, 0.4, 0.9]))
        to_worker = bool(more) and dice.random() < 0.3
        answer = harness.run(more, signal=int(number), after=after, to_worker=to_worker)
        about = {"signal": number.name, "after": round(after, 3), "to_worker": to_worker}
        if answer["status"] != 0:
            hits += 1
            harness.counts[f"{what} {number.name}{' to a worker' if to_worker else ''}"] += 1
            status = 2 if to_worker else 130 if number == signal.SIGINT else -int(number)
            harness.check(what, answer, (status,), **about)
        else:
            harness.counts[f"{what}: runs compared"] += 1
            harness.check(what, answer, **about)
            harness.clear()
    harness.counts[what] += hits
    harness.counts[f"{what}: runs compared"] += 1
    harness.check(what, harness.run(more))
    harness.clear()


def fill(harness: Harness, size: int, enough: int) -> None:
    """Run on a disk of `size` bytes; then make the disk larger and resume."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
        subprocess.run(mount, check=True, capture_output=True)
        try:
            harness.counts["disks"] += 1
            answer = harness.run(place=Path(folder))
            harness.counts["disks: full"] += answer["status"] == 2
            harness.check("disk", answer, (0, 2), size=size)
            subprocess.run(["mount", "-o", f"remount,size={enough}", folder], check=True)
            harness.check("larger disk", harness.run(place=Path(folder)), size=size)
        finally:
            subprocess.run(["umount", folder], check=True)


def disk_sizes(harness: Harness, count: int = 12) -> list[int]:
    """Return sizes from a few pages to enough for the run, in equal ratios."""
    enough = 4 * sum(len(content) for content in harness.expected.values())
    return [int(8192 * (enough / 8192) ** (i / (count - 1))) for i in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=0, help="Faults to try at every call.")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--worker-kills", type=int, default=0, help="Kills of runs with two workers.")
    parser.add_argument("--disks", action="store_true", help="Try disks of twelve sizes; requires root.")
    parser.add_argument("--at-most", type=int, help="Try only so many of the faults, drawn at random.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1e9, help="Stop after this time.")
    given = parser.parse_args()
    dice, until = random.Random(given.seed), time.monotonic() + 60 * given.minutes
    with tempfile.TemporaryDirectory() as folder:
        harness = Harness(Path(folder))
        harness.counts["calls of a run"] = len(harness.calls)
        for size in disk_sizes(harness) if given.disks else ():
            fill(harness, size, disk_sizes(harness)[-1])
        faults = all_faults(harness, given.faults)
        dice.shuffle(faults)
        trials = [partial(inject, harness, *fault) for fault in faults[: given.at_most]]
        trials += [partial(kill, harness, dice, 20)] * (given.kills // 20)
        with_workers = partial(kill, harness, dice, 5, "kills with two workers", ["--workers", "2"])
        trials += [with_workers] * (given.worker_kills // 5)
        dice.shuffle(trials)
        for trial in trials:
            if time.monotonic() > until:
                break
            trial()
            print(json.dumps({"counts": harness.counts}), file=sys.stderr, flush=True)
        harness.warm.close()
    print(json.dumps({"counts": dict(sorted(harness.counts.items()))}), flush=True)


if __name__ == "__main__":
    main()
