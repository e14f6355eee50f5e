"""report.html of runs with several seeds: means, their spread over seeds, and a link to each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pet.report.pages import render
from pet.report.shares import ESTIMATED, share_columns
from pet.report.tables import (
    LEVELS,
    NAMES,
    comparison_rows,
    difference_rows,
    first_seed,
    headline,
    interval,
    is_multi_label,
    legend,
    level_rows,
    majority_line,
    paired_figures,
)


def seeds_report(
    results: Mapping[str, Any], figures: Mapping[str, Sequence[Mapping[str, Any]]], shown: Sequence[str] = ()
) -> str:
    """Return the HTML report of runs that differ in their seeds.

    Parameters
    ----------
    results : ``task``, ``method``, ``model``, ``runs`` (seed or folder -> content of its metrics.json), and perhaps
        ``spread``
    figures : name of a model -> its figures for each seed; empty without test texts
    shown : metrics to show first
    """
    runs: Mapping[str, Any] = results["runs"]
    ratios = [run["class_ratio"] for run in runs.values() if run.get("class_ratio")]
    shares_header, shares = share_columns(ratios)
    differences = [run["differences"] for run in runs.values() if "differences" in run]
    first = next(iter(figures.values()), [])
    found: dict[str, Any] = {"rows": [], "differences": [], "summary": _summary(results)}
    if first:
        columns = headline(shown, multi_label=is_multi_label(figures))
        found |= {"header": ["result", *columns.values()], "rows": comparison_rows(figures, shown)}
        found |= {"legend": legend(first), "majority": majority_line(first_seed(first))}
        found |= {"levels": level_rows(figures), "levels_header": LEVELS}
    if differences:
        names = [cell for name in paired_figures(differences[0]).values() for cell in (name, f"P(better), {name}")]
        found |= {"differences": difference_rows(differences), "against": differences[0]["result"]}
        found["differences_header"] = ["compared with", *names]
    each = [
        (*_named(name), [_accuracy(of_seed[place]) for of_seed in figures.values()]) for place, name in enumerate(runs)
    ]
    kind = "runs" if "spread" in results else "seeds"
    title = f"{results.get('task', 'run')}: {results.get('method', 'pet')}, {len(runs)} {kind}"
    found |= {"shares_header": ["label", *shares_header], "estimated": ESTIMATED}
    found["shares"] = [[label, *cells] for label, cells in shares.items()]
    return render("seeds.html", title=title, columns=list(figures), runs=each, **found)


def run_folder(name: str) -> str:
    """Return the folder of a run by its key under ``runs``: a seed, or already a folder with a draw and a seed."""
    return f"seed-{name}" if name.isdigit() else name


def _named(name: str) -> tuple[str, str]:
    """Return what a run is called, and its folder.

    Examples
    --------
    >>> _named("2"), _named("draw-0-seed-1")
    (('seed 2', 'seed-2'), ('draw 0, seed 1', 'draw-0-seed-1'))
    """
    folder = run_folder(name)
    return folder.replace("-seed-", ", seed ").replace("seed-", "seed ").replace("draw-", "draw "), folder


def spread_lines(results: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each result on the spread of its accuracy over draws and over seeds; empty without draws.

    Examples
    --------
    >>> spread_lines({"spread": {"pet student": {"accuracy": {"draws": 0.021, "seeds": 0.008}}}})
    ['pet student: the accuracy varies by 2.1 points over draws of the examples, and by 0.8 over seeds']
    """
    lines = []
    for name, figures in (results.get("spread") or {}).items():
        metric = "accuracy" if "accuracy" in figures else "micro_f1"
        if metric in figures:
            draws, seeds = figures[metric]["draws"], figures[metric]["seeds"]
            more = "" if seeds is None else f", and by {100 * seeds:.1f} over seeds"
            lines.append(
                f"{name}: the {NAMES[metric]} varies by {100 * draws:.1f} points over draws of the examples{more}"
            )
    return lines


def _accuracy(figures: Mapping[str, Any]) -> str:
    """Return the figure of one seed with its interval; of texts with several labels, micro F1."""
    name = "accuracy" if "accuracy" in figures else "micro_f1"
    ends = figures.get(f"{name}_interval")
    return f"{figures[name]:.3f}" + ("" if ends is None else f" {interval(ends)}")


def _summary(results: Mapping[str, Any]) -> list[str]:
    runs: Mapping[str, Any] = results["runs"]
    data = next(iter(runs.values()))["data"]
    other = "another draw of the examples or another seed" if "spread" in results else "another seed"
    done = f"The same job ran {len(runs)} times, each time with {other}, on {data['train']} labeled texts."
    advice = next(((_named(name)[0], run["advice"][0]) for name, run in runs.items() if run.get("advice")), None)
    spread = [f"{line}." for line in spread_lines(results)]
    return [done, *spread, *([f"Next, from {advice[0]}: {advice[1]}."] if advice else [])]
