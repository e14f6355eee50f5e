"""Repeat a run with several seeds, and several draws of the examples."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from pet.errors import PetError
from pet.progress import Reporter
from pet.report.seeds import run_folder, seeds_report
from pet.report.tables import NAMES, summarize
from pet.run.execution.options import Execution
from pet.run.pipeline import run
from pet.run.resolve import Given
from pet.run.results import Results, headlines_by_seed
from pet.run.settings import RunSettings
from pet.statistics import spread_of_draws
from pet.store.files import write_atomically
from pet.store.folders import TEMPORARY
from pet.store.tree import check_inside


def run_seeds(
    settings: RunSettings,
    seeds: Sequence[int],
    output: str | Path,
    reporter: Reporter,
    *,
    draws: int | None = None,
    given: Given | None = None,
    execution: Execution | None = None,
) -> Results:
    """Run once per seed, each in a folder ``seed-N``, and summarize by mean and standard deviation.

    With `draws`, run once per draw of the labeled examples and seed, each in a folder ``draw-M-seed-N``. Then the seed
    does not change the examples. The other parameters are those of `pet.run.pipeline.run`.

    Returns
    -------
    dict with ``runs`` (seed, or folder with draws -> results) and ``summary`` (name of a model ->
    `pet.report.tables.summarize`); with two draws or more also ``spread`` (name of a model -> metric -> standard
    deviations over ``draws`` and ``seeds``, see `pet.statistics.spread_of_draws`)
    """
    _refuse_other_files(Path(output))
    if Path(output).is_dir():
        check_inside(output, "folder of runs")
    runs = {}
    with reporter.warning_once():  # most warnings are about settings and files, which all runs share
        for draw, seed in product([None] if draws is None else range(draws), seeds):
            name = str(seed) if draw is None else f"draw-{draw}-seed-{seed}"
            reporter.info(f"seed {seed}" if draw is None else f"draw {draw}, seed {seed}")
            wanted = replace(settings, seed=seed, draw=draw)
            folder = Path(output) / run_folder(name)
            runs[name] = run(wanted, folder, reporter, given=given, execution=execution)
    headlines = headlines_by_seed(list(runs.values()))
    results = {
        "task": settings.task["task"],
        "method": settings.method,
        "model": settings.model,
        "runs": runs,
        "summary": {name: summarize(rows) for name, rows in headlines.items()},
    }
    if draws is not None and draws > 1:
        results["spread"] = {name: _spread(rows, draws) for name, rows in headlines.items()}
    write_atomically(Path(output) / "metrics.json", json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    page = seeds_report(results, headlines, settings.task.get("metrics", ()))
    write_atomically(Path(output) / "report.html", page)
    return results


def _spread(rows: Sequence[Mapping[str, Any]], draws: int) -> dict[str, dict[str, float | None]]:
    """Return the spread of each metric that all runs have."""
    found = {}
    for metric in NAMES:
        values = [row[metric] for row in rows if row.get(metric) is not None]
        if len(values) == len(rows):
            over = spread_of_draws(np.reshape(values, (draws, -1)))
            found[metric] = dict(zip(("draws", "seeds"), over, strict=True))
    return found


def _refuse_other_files(output: Path) -> None:
    known = re.compile(rf"(draw-\d+-)?seed-\d+|metrics\.json|report\.html|{re.escape(TEMPORARY)}.*")
    others = sorted(p.name for p in output.iterdir() if not known.fullmatch(p.name)) if output.is_dir() else []
    if others:
        raise PetError(
            f"{output} contains files that do not belong to runs with several seeds ({', '.join(others[:3])}"
            f"{', ...' if len(others) > 3 else ''}); choose an empty or new folder"
        )
