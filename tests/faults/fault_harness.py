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

# The tests' own modules and the package, also when this is a program.
sys.path[:0] = [str(path) for path in Path(__file__).resolve().parents[1:3]]

from families import build_family  # noqa: E402
from small_run import QUICK, contents, write_inputs  # noqa: E402
from warm_process import Warm, build_shim, compiler  # noqa: E402

from pet.store.folders import TEMPORARY  # noqa: E402

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


# Commands that write; each of these, except `run`, replaces what the same command has written before.
COMMANDS = ("run", "label", "predict", "sample", "distill")


class Harness:
    """A command, the files that it makes if nothing happens, and a warm process to run it in.

    Parameters
    ----------
    base : an empty folder
    command : one of `COMMANDS`

    Attributes
    ----------
    replaces : whether the command finds the output of an earlier one, which has to stay whole
    counts : what was tried, by kind
    wrong : what went wrong
    calls : kind and path of every call of an uninterrupted run that can fail
    seconds : duration of an uninterrupted run
    """

    def __init__(self, base: Path, command: str = "run"):
        self.command, self.replaces = command, command != "run"
        self.cases, self.temporary, self.finished = base / "cases", base / "temporary", base / "finished"
        self.inputs, self.model = write_inputs(base / "in"), build_family("bert", base / "model")
        for folder in (self.cases, self.temporary, self.finished):
            folder.mkdir()
        self.counts: Counter[str] = Counter()
        self.wrong: list[dict[str, Any]] = []
        self.warm = Warm(build_shim(base) if compiler() else None, self.temporary)
        if self.replaces:
            self._must(self.warm.ask(self.arguments("run", self.finished), self.finished))
            self._must(self.run())
        whole = self._must(self.run())
        self.expected, self.names, self.untouched = contents(self.cases), names(self.cases), self._fingerprint()
        self.check("uninterrupted", whole)
        self.seconds = float(whole["seconds"])
        logged = (line.split("\t", 2) for line in whole["calls"].splitlines())
        self.calls = [(name, path) for number, name, path in logged if number != "0"]

    def arguments(self, command: str, place: Path) -> list[object]:
        """The arguments of a command that writes to a folder."""
        names = ("task.yaml", "train.jsonl", "pool.jsonl", "test.jsonl")
        task, train, pool, test = (self.inputs / name for name in names)
        run, cpu = self.finished / "run", ["--device", "cpu", "-q"]
        given: dict[str, list[object]] = {
            "run": [task, "--train", train, "--unlabeled", pool, "--test", test, "-o", place / "run"],
            "label": [run, "--input", pool, "-o", place / "labels.parquet", "--force", *cpu],
            "predict": [run, "--input", pool, "-o", place / "predictions.csv", "--force", *cpu],
            "sample": [task, "--input", train, "--shots", 1, "-o", place / "few.csv", "--rest", place / "rest.jsonl"],
            "distill": ["--labels", run / "g0" / "labels.parquet", "--input", pool, "--task", task, "--force"],
        }
        given["run"] += ["--model", self.model, *SETTINGS]
        given["sample"] += ["--force"]
        given["distill"] += ["--model", self.model, *SETTINGS, "-o", place / "student"]
        return [command, *given[command]]

    def run(self, more: Iterable[str] = (), place: Path | None = None, **options: Any) -> dict[str, Any]:
        """Start the command, or resume it, with its outputs in a folder."""
        place = place or self.cases
        return {"place": place, **self.warm.ask([*self.arguments(self.command, place), *more], place, **options)}

    def _must(self, answer: dict[str, Any]) -> dict[str, Any]:
        if answer["status"] != 0:
            raise RuntimeError(answer["said"])
        return answer

    def clear(self) -> None:
        """Remove the outputs, except those that the command replaces."""
        for path in self.cases.iterdir():
            if not self.replaces or path.name.startswith(TEMPORARY):
                shutil.rmtree(path)

    def check(
        self, what: str, answer: dict[str, Any], allowed: Iterable[int] = (0,), names: bool = True, **about: Any
    ) -> None:
        """Check how a run ended, what it printed and touched and, after status 0, what it made; print what is wrong."""
        found = _said_wrong(answer, allowed)
        found += ["touched a file elsewhere"] if self._fingerprint() != self.untouched else []
        logged = (line.split("\t", 2) for line in answer["calls"].splitlines())
        elsewhere = {path for number, _, path in logged if number == "0"}
        found += [f"changed {path}" for path in elsewhere if not path.startswith(str(self.temporary))]
        if answer["status"] == 0 or (self.replaces and answer["status"] == 2):  # after a kill, at the next start
            found += self._files_wrong(answer["place"], names)
        if found:
            self.counts["wrong"] += 1
            self.wrong.append({"what": what, "problems": found, **about, "said": answer["said"][-2000:]})
            print(json.dumps(self.wrong[-1]), flush=True)

    def _files_wrong(self, place: Path, by_name: bool) -> list[str]:
        made = contents(place)
        different = [name for name, content in self.expected.items() if made.get(name) != content]
        others = sorted(names(place) ^ self.names) if by_name else []
        return [f"{what}: {', '.join(some)}" for what, some in (("bytes", different), ("files", others)) if some]

    def _fingerprint(self) -> list[tuple[str, int, int]]:
        """Names, sizes and times of what a run reads, and of what is left among the temporary files."""
        files = [
            path
            for place in (self.inputs, self.model, self.temporary, self.finished)
            for path in sorted(place.rglob("*"))
        ]
        return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]


def names(folder: Path) -> frozenset[str]:
    """Everything below a folder that counts.

    Not the run's lock, which stays after a kill, and not an empty temporary folder, which may stay if it could not be
    removed.
    """
    found = (path for path in folder.rglob("*") if path.name != ".lock")
    kept = (path for path in found if not path.name.startswith(TEMPORARY) or not path.is_dir() or any(path.iterdir()))
    return frozenset(path.relative_to(folder).as_posix() for path in kept)


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
    """Make one call of a command fail; then start the command again."""
    harness.clear()
    answer = harness.run(fail=number + 1, error=error)
    failed = [line.split("\t", 2) for line in answer["calls"].splitlines() if line.startswith(f"{number + 1}\t")]
    for _, name, path in failed:
        about = {"call": number + 1, "name": name, "path": path, "error": errno.errorcode[error]}
        harness.counts["faults"] += 1
        harness.counts[f"{name} {errno.errorcode[error]}"] += 1
        if answer["status"] == 0:
            harness.counts[f"{name}: went on"] += 1
        harness.check("fault", answer, (0, 2), names=False, **about)  # a leftover may stay until the next start
        harness.check("started again after a fault", harness.run(), **about)


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
            # Before the command begins, click itself ends with 1.
            allowed = (2,) if to_worker else (130, 1) if number == signal.SIGINT else (-int(number),)
            harness.check(what, answer, allowed, **about)
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
    parser.add_argument("--command", choices=COMMANDS, default="run")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--worker-kills", type=int, default=0, help="Kills of runs with two workers.")
    parser.add_argument("--disks", action="store_true", help="Try disks of twelve sizes; requires root.")
    parser.add_argument("--at-most", type=int, help="Try only so many of the faults, drawn at random.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1e9, help="Stop after this time.")
    given = parser.parse_args()
    dice, until = random.Random(given.seed), time.monotonic() + 60 * given.minutes
    with tempfile.TemporaryDirectory() as folder:
        harness = Harness(Path(folder), given.command)
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
