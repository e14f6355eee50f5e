"""Repeat a run with several seeds."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pet.errors import PetError
from pet.progress import Reporter
from pet.report.seeds import seeds_report
from pet.report.tables import summarize
from pet.run.execution.options import Execution
from pet.run.pipeline import run
from pet.run.resolve import Given
from pet.run.results import Results, headlines_by_seed
from pet.run.settings import RunSettings
from pet.store.files import write_atomically
from pet.store.folders import TEMPORARY
from pet.store.tree import check_inside


def run_seeds(
    settings: RunSettings,
    seeds: Sequence[int],
    output: str | Path,
    reporter: Reporter,
    *,
    given: Given | None = None,
    execution: Execution | None = None,
) -> Results:
    """Run once per seed, each in a folder ``seed-N``, and summarize by mean and standard deviation.

    The other parameters are those of `pet.run.pipeline.run`.

    Returns
    -------
    dict with ``runs`` (seed -> results) and ``summary`` (name of a model -> `pet.report.tables.summarize`)
    """
    _refuse_other_files(Path(output))
    if Path(output).is_dir():
        check_inside(output, "folder of runs")
    runs = {}
    for seed in seeds:
        reporter.info(f"seed {seed}")
        folder = Path(output) / f"seed-{seed}"
        runs[str(seed)] = run(replace(settings, seed=seed), folder, reporter, given=given, execution=execution)
    results = {
        "task": settings.task["task"],
        "method": settings.method,
        "model": settings.model,
        "runs": runs,
        "summary": {name: summarize(rows) for name, rows in headlines_by_seed(list(runs.values())).items()},
    }
    write_atomically(Path(output) / "metrics.json", json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    page = seeds_report(results, headlines_by_seed(list(runs.values())), settings.task.get("metrics", ()))
    write_atomically(Path(output) / "report.html", page)
    return results


def _refuse_other_files(output: Path) -> None:
    known = re.compile(rf"seed-\d+|metrics\.json|report\.html|{re.escape(TEMPORARY)}.*")
    others = sorted(p.name for p in output.iterdir() if not known.fullmatch(p.name)) if output.is_dir() else []
    if others:
        raise PetError(
            f"{output} contains files that do not belong to runs with several seeds ({', '.join(others[:3])}"
            f"{', ...' if len(others) > 3 else ''}); choose an empty or new folder"
        )
