"""CPU seconds of `pet run` by part: members, scores, merging, student, start-up.

    python benchmarks/stages.py agnews:32 --pool-size 1000 --test-rows 300

Each run is a process of its own with one thread, timed from its first instruction to its last. What a run reports as a
task is timed as that task, and the rest of a stage (opening, saving and hashing files, merging) as the stage. What is
outside of stages is imports, reading and checking the data, and the report. Members of a kind are added up.
"""

from __future__ import annotations

import json
import re
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import common

OUTSIDE = "outside of stages"
_MEMBERS = re.compile(r"(?:g\d+/)?p\d+-r\d+")


@click.command()
@click.argument("wanted", metavar="TASK:EXAMPLES", default="agnews:32")
@common.settings_option
@common.shared_option
@click.option("--model", default="minilm-mlm-en", show_default=True, help="Model in ../shared/models, or any other.")
@click.option("--pool-size", default=1000, show_default=True, help="Unlabeled texts.")
@click.option("--test-rows", default=300, show_default=True, help="Texts of the test set; 0: no test set.")
@click.option("--seed", default=0, show_default=True, help="Random seed of the draw and of the run.")
@click.option("--rounds", default=1, show_default=True, help="Report medians over this many runs.")
@common.output_option(common.SPEED)
@click.option("--alone", hidden=True, help="Arguments of `pet`, as JSON: time them in this process.")
def main(
    wanted: str, changes: tuple[str, ...], shared: Path, model: str, pool_size: int, test_rows: int, seed: int,
    rounds: int, output: Path, alone: str | None,
) -> None:  # fmt: skip
    """Print the CPU seconds of each part of a run."""
    if alone is not None:
        print(json.dumps(timed(json.loads(alone)["arguments"])))
        return
    from draws import SETS, Size, make_draw

    name, _, examples = wanted.partition(":")
    source, place = SETS[name], shared / "models" / model
    found = []
    with tempfile.TemporaryDirectory(prefix="pet-stages-") as temporary:
        folder = Path(temporary)
        make_draw(source, shared / "data", Size(int(examples), pool_size, max(test_rows, 1)), seed, folder)
        arguments = ["run", source.task, "--model", str(place if place.is_dir() else model), "--seed", str(seed)]
        for option, file in {
            "train": "train",
            "unlabeled": "unlabeled",
            **({"test": "test"} if test_rows else {}),
        }.items():
            arguments += [f"--{option}", str(folder / f"{file}.jsonl")]
        if not test_rows:
            arguments.append("--no-estimate")  # otherwise it is estimated by training members again
        for change in changes:
            arguments += ["--set", change]
        for number in range(rounds):
            run = [*arguments, "-o", str(folder / f"run{number}")]
            found.append(common.run_alone(__file__, "--alone", {"arguments": run}, threads=1))
    parts = dict.fromkeys(part for one in found for part in one["seconds"])
    seconds = {part: round(statistics.median(one["seconds"].get(part, 0.0) for one in found), 2) for part in parts}
    whole = round(statistics.median(sum(one["seconds"].values()) for one in found), 1)
    told = {
        "task": name, "examples": int(examples), "pool": pool_size, "test": test_rows, "model": model,
        "settings": common.setting_pairs(changes), "rounds": rounds, "seconds": seconds, "whole": whole,
        "accuracy": found[0]["accuracy"],
    }  # fmt: skip
    common.record(output, "stages", 1, "cpu", told)
    rows = [(part, f"{own:.2f}") for part, own in sorted(seconds.items(), key=lambda item: -item[1])]
    click.echo(common.markdown(["part", "CPU seconds"], [*rows, ("whole run", f"{whole:.1f}")]))
    click.echo(f"accuracy: {found[0]['accuracy']}")


class Watch:
    """CPU seconds of nested parts; each second belongs to the innermost one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._parts, self._since = [OUTSIDE], 0.0

    def _turn(self) -> None:
        now = time.process_time()
        self.seconds[self._parts[-1]] += now - self._since
        self._since = now

    def enter(self, part: str) -> None:
        self._turn()
        self._parts.append(_MEMBERS.sub("patterns", part))

    def leave(self) -> None:
        self._turn()
        self._parts.pop()

    def end(self) -> None:
        self._turn()


def timed(arguments: list[str]) -> dict[str, Any]:
    """Run a command in this process; return its CPU seconds by part, and the accuracies."""
    from pet import progress
    from pet.cli.main import main as pet
    from pet.progress import Progress
    from pet.store.directory import RunDirectory

    watch = Watch()

    class Timed(Progress):
        def __enter__(self) -> Progress:
            watch.enter(self.label)
            return super().__enter__()

        def __exit__(self, *error: Any) -> None:
            super().__exit__(*error)
            watch.leave()

    build = RunDirectory.stage

    def stage(self: RunDirectory, name: str, *inputs: Any, **options: Any) -> Path:
        watch.enter(f"stage {name}")
        try:
            return build(self, name, *inputs, **options)
        finally:
            watch.leave()

    with patch.object(progress, "Progress", Timed), patch.object(RunDirectory, "stage", stage):
        pet([*arguments, "--quiet"], standalone_mode=False)
    watch.end()
    results = json.loads((Path(arguments[-1]) / "metrics.json").read_text(encoding="utf-8"))
    known = {name: results.get(name, {}).get("accuracy") for name in ("ensemble", "student")}
    accuracy = {name: share for name, share in known.items() if share is not None}  # none without a test set
    return {"seconds": watch.seconds, "accuracy": accuracy}


if __name__ == "__main__":
    main()
