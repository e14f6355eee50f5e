"""report.html of runs with several seeds: means, their spread over seeds, and a link to each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pet.report.pages import render
from pet.report.tables import (
    PAIRED,
    comparison_rows,
    difference_rows,
    first_seed,
    headline,
    interval,
    is_multi_label,
    legend,
    majority_line,
)


def seeds_report(
    results: Mapping[str, Any], figures: Mapping[str, Sequence[Mapping[str, Any]]], shown: Sequence[str] = ()
) -> str:
    """Return the HTML report of runs that differ in their seeds.

    Parameters
    ----------
    results : ``task``, ``method``, ``model``, and ``runs``: seed -> content of its metrics.json
    figures : name of a model -> its figures for each seed; empty without test texts
    shown : metrics to show first
    """
    runs: Mapping[str, Any] = results["runs"]
    differences = [run["differences"] for run in runs.values() if "differences" in run]
    first = next(iter(figures.values()), [])
    found: dict[str, Any] = {"rows": [], "differences": [], "summary": _summary(results)}
    if first:
        columns = headline(shown, multi_label=is_multi_label(figures))
        found |= {"header": ["result", *columns.values()], "rows": comparison_rows(figures, shown)}
        found |= {"legend": legend(first), "majority": majority_line(first_seed(first))}
    if differences:
        names = [cell for name in PAIRED.values() for cell in (name, f"P(better), {name}")]
        found |= {"differences": difference_rows(differences), "against": differences[0]["result"]}
        found["differences_header"] = ["compared with", *names]
    each = [(seed, [_accuracy(of_seed[place]) for of_seed in figures.values()]) for place, seed in enumerate(runs)]
    title = f"{results.get('task', 'run')}: {results.get('method', 'pet')}, {len(runs)} seeds"
    return render("seeds.html", title=title, columns=list(figures), runs=each, **found)


def _accuracy(figures: Mapping[str, Any]) -> str:
    """Return the figure of one seed with its interval; of texts with several labels, micro F1."""
    name = "accuracy" if "accuracy" in figures else "micro_f1"
    ends = figures.get(f"{name}_interval")
    return f"{figures[name]:.3f}" + ("" if ends is None else f" {interval(ends)}")


def _summary(results: Mapping[str, Any]) -> list[str]:
    runs: Mapping[str, Any] = results["runs"]
    data = next(iter(runs.values()))["data"]
    done = f"The same job ran {len(runs)} times, each time with another seed, on {data['train']} labeled texts."
    advice = next((run["advice"][0] for run in runs.values() if run.get("advice")), "")
    return [done, *([f"Next: {advice}."] if advice else [])]
