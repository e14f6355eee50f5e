"""Results of a finished run: metrics.json, report.html, the student's model card, and rows of figures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pet.errors import PetError
from pet.report.card import CardTask, student_card
from pet.report.html import html_report
from pet.run.resolve import ResolvedRun
from pet.store.directory import RunDirectory
from pet.store.files import write_atomically
from pet.store.json_reader import read_json
from pet.store.schema import flag, list_of, mapping_of, maybe, number, record, text, whole

Results = dict[str, Any]
METRICS = "metrics.json"

# What code reads from the metrics.json of a received run.
_SHARE, _COUNT = maybe(number(0, 1)), whole(0, 10**15)
_INTERVAL = list_of(number(-1e6, 1e6), 2, 2)
_INTERVALS = ("accuracy", "micro_f1")
_KNOWN = (
    {"n": _COUNT, "mcc": maybe(number(-1, 1)), "macro_f1": _SHARE, "ece": _SHARE}
    | dict.fromkeys(_INTERVALS, number(0, 1))
    | {f"{name}_interval": _INTERVAL for name in _INTERVALS}
)


def _figures(value: Any, place: str) -> Iterator[str]:
    """Check the figures of a model. An interval comes with its figure and the number of texts."""
    found = [name for name in _INTERVALS if isinstance(value, dict) and f"{name}_interval" in value]
    required = [*found, "n"] if found else []
    yield from record({name: _KNOWN[name] for name in required}, _KNOWN)(value, place)


_OWN = record({}, {"ensemble": maybe(_figures), "student": maybe(_figures)})
_GAIN = record(dict.fromkeys(("difference", "low", "high"), number(-1, 1)) | {"texts": _COUNT})
_HALVES = record({"draws": _COUNT, "labeled": _COUNT, "accuracy": number(0, 1)}, {"gain": maybe(_GAIN)})
_ESTIMATE = record(
    dict.fromkeys(("accuracy", "low", "high"), number(0, 1))
    | {"disagreement": _SHARE, "judged": _COUNT, "wrong": _COUNT},
    {"halves": maybe(_HALVES), "micro_f1": maybe(list_of(number(0, 1), 3, 3)), "assumes_ratio": flag()},
)
_RATIO = record({}, dict.fromkeys(("labeled", "predicted", "estimated", "low", "high"), mapping_of(number(0, 1))))
_RESULTS = record(
    {"method": text()},
    {
        "task": text(),
        "ensemble": maybe(_figures),
        "student": maybe(_figures),
        "members": maybe(mapping_of(_figures)),
        "baselines": mapping_of(_OWN),
        "class_ratio": maybe(_RATIO),
        "estimate": maybe(_ESTIMATE),
    },
)


def write_results(directory: RunDirectory, run: ResolvedRun, figures: Results, shown: Results) -> Results:
    """Write metrics.json, report.html, and the student's model card; return the content of metrics.json.

    Parameters
    ----------
    directory, run : the run
    figures : of the run
    shown : what only the report has; see `pet.run.evidence`
    """
    results = {
        "task": run.task.name,
        "method": run.settings.method,
        "model": run.settings.model,
        "seed": run.settings.seed,
        "data": run.data.report,
        **figures,
    }
    root = directory.path
    write_atomically(root / METRICS, json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    about = {"labels": run.task.labels, "config": directory.config, "messages": run.data.report["messages"]}
    write_atomically(root / "report.html", html_report(results | about | shown))
    if (root / "student").is_dir():
        write_atomically(root / "student" / "README.md", _card(run, results))
    return results


def read_results(folder: Path) -> Results:
    """Read the metrics.json of a finished run.

    Raises
    ------
    PetError
        If there is none, or it is damaged: what other code reads has another type or an impossible value.
    """
    path = folder / METRICS
    if not path.is_file():
        raise PetError(f"{folder} is not a finished run (it has no {METRICS}); finish it with `pet run`")
    results: Results = read_json(path, "repeat the run", _RESULTS)
    return results


def _card(run: ResolvedRun, results: Results) -> str:
    return student_card(
        CardTask.of(run.task),
        run.settings.method,
        run.settings.student_model or run.settings.model,
        facts={"labeled examples": run.data.report["train"], "unlabeled texts": run.data.report["pool"]},
        metrics=results.get("student"),
    )


def headline_metrics(result: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the rows of a comparison, baselines first: name of a model -> its figures."""
    method = result["method"]
    rows = {
        name: figures.get("student") or figures.get("ensemble") for name, figures in result.get("baselines", {}).items()
    }
    rows["zero-shot" if method == "zero-shot" else f"{method} ensemble"] = result.get("ensemble")
    rows["supervised" if method == "supervised" else f"{method} student"] = result.get("student")
    return {name: figures for name, figures in rows.items() if figures}


def headlines_by_seed(results: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the same rows for several runs: name of a model -> its figures for each seed."""
    tables = [headline_metrics(result) for result in results]
    return {name: [table[name] for table in tables] for name in (tables[0] if tables else ())}
