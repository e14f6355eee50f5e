"""Tables of plain text: one result, and several beside each other."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from pet.terminal import clean, display_width, pad

# The figures that say at a glance how good a classifier is, with their names for people.
HEADLINE = {"accuracy": "accuracy", "macro_f1": "macro F1", "mcc": "MCC", "ece": "ECE"}

Metrics = Mapping[str, Any]


def text_table(rows: Sequence[Sequence[object]], header: Sequence[str]) -> str:
    """A table with aligned columns for a terminal.

    Parameters
    ----------
    rows : sequence of sequences
        Cells. Numbers stand at the right, floats get three decimals, None is "-".
    header : sequence of str
        Names of the columns.

    Returns
    -------
    str
        Lines without a line break at the end.

    Raises
    ------
    ValueError
        When a row has not as many cells as the header.
    """
    if any(len(row) != len(header) for row in rows):
        raise ValueError(f"each row must have {len(header)} cells")
    lines = [[clean(name) for name in header], *([_cell(value) for value in row] for row in rows)]
    widths = [max(display_width(line[i]) for line in lines) for i in range(len(header))]
    right = [
        bool(rows) and all(row[i] is None or isinstance(row[i], (int, float)) for row in rows)
        for i in range(len(header))
    ]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "  ".join(pad(cell, widths[i], right=right[i]) for i, cell in enumerate(line)).rstrip()
        for line in [lines[0], rule, *lines[1:]]
    )


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else clean(str(value))


def summarise(runs: Sequence[Metrics]) -> dict[str, dict[str, float | int | None]]:
    """Mean and spread of the headline figures over runs with different seeds.

    Parameters
    ----------
    runs : sequence of mappings
        Each as `pet.evaluate.evaluate` returns it.

    Returns
    -------
    dict
        figure -> ``{"mean", "std", "n"}``. ``std`` is that of a sample (divided by n - 1), and
        None where there is one run only. Figures that a run lacks are left out.
    """
    summary: dict[str, dict[str, float | int | None]] = {}
    for figure in HEADLINE:
        values = [float(run[figure]) for run in runs if run.get(figure) is not None]
        if not values or len(values) < len(runs):
            continue
        std = statistics.stdev(values) if len(values) > 1 else None
        summary[figure] = {"mean": math.fsum(values) / len(values), "std": std, "n": len(values)}
    return summary


def headline(first: Sequence[str] = ()) -> dict[str, str]:
    """`HEADLINE` with some figures before the others, as a task file's ``metrics`` has them."""
    return {figure: HEADLINE[figure] for figure in dict.fromkeys((*first, *HEADLINE))}


def comparison_rows(results: Mapping[str, Metrics | Sequence[Metrics]], first: Sequence[str] = ()) -> list[list[str]]:
    """Rows of a table of several results: name, then the headline figures as text.

    Parameters
    ----------
    results : mapping
        name -> the metrics of one run, or a sequence of them, one for each seed.
    first : sequence of str
        Of `headline`.
    """
    rows = []
    for name, result in results.items():
        summary = summarise([result] if isinstance(result, Mapping) else result)
        rows.append([name, *(_spread(summary.get(figure)) for figure in headline(first))])
    return rows


def _spread(figure: Mapping[str, float | int | None] | None) -> str:
    if figure is None:
        return "-"
    std = figure["std"]
    return f"{figure['mean']:.3f}" + ("" if std is None else f" ± {std:.3f}")


def comparison_table(results: Mapping[str, Metrics | Sequence[Metrics]], first: Sequence[str] = ()) -> str:
    """Several results beside each other: accuracy, macro F1, MCC, ECE.

    Parameters
    ----------
    results : mapping
        name -> the metrics of one run, or a sequence of them, one for each seed, which are shown
        as mean ± standard deviation.
    first : sequence of str
        Of `headline`.
    """
    return text_table(comparison_rows(results, first), ["result", *headline(first).values()])


def first_seed(metrics: Metrics | Sequence[Metrics]) -> Metrics:
    """The metrics of a result, or of the first seed where there are several."""
    return metrics if isinstance(metrics, Mapping) else metrics[0]


def majority_line(metrics: Metrics) -> str:
    """What says nothing but the most frequent label of the labeled texts would reach, as a sentence.

    Parameters
    ----------
    metrics : of anything on these texts, as `pet.evaluate.evaluate` returns it
    """
    counts = {label: row["support"] for label, row in metrics["per_class"].items()}
    most = max(counts, key=lambda label: counts[label])
    return f"Always {clean(most)!r}: accuracy {counts[most] / metrics['n']:.3f}."
