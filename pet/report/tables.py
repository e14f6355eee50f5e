"""Plain-text tables of one or several results."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from pet.terminal import clean, display_width, pad

# Headline metrics with their display names.
HEADLINE = {"accuracy": "accuracy", "macro_f1": "macro F1", "mcc": "MCC", "ece": "ECE"}
# Metrics that only some tasks have.
SPECIAL = {"f1a": "F1a", "em": "EM", "token_f1": "token F1"}
NAMES = HEADLINE | SPECIAL

Metrics = Mapping[str, Any]


def text_table(rows: Sequence[Sequence[object]], header: Sequence[str]) -> str:
    """Format a table with aligned columns for a terminal.

    Parameters
    ----------
    rows : sequence of sequences
        Cells. Columns of numbers are right-aligned, floats get three decimals, None becomes "-".
    header : sequence of str
        Column names.

    Returns
    -------
    str
        Lines, without a trailing newline.

    Raises
    ------
    ValueError
        If a row and the header differ in length.

    Examples
    --------
    >>> print(text_table([["student", 0.75], ["ensemble", None]], ["result", "accuracy"]))
    result    accuracy
    --------  --------
    student      0.750
    ensemble         -
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


def summarize(runs: Sequence[Metrics]) -> dict[str, dict[str, float | int | None]]:
    """Compute mean and standard deviation of the headline metrics over runs with different seeds.

    Parameters
    ----------
    runs : sequence of mappings
        Each as returned by `pet.evaluate.evaluate`.

    Returns
    -------
    dict
        metric -> ``{"mean", "std", "n"}``. ``std`` is the sample standard deviation (divisor n - 1),
        or None for a single run. Metrics that any run lacks are omitted.
    """
    summary: dict[str, dict[str, float | int | None]] = {}
    for figure in NAMES:
        values = [float(run[figure]) for run in runs if run.get(figure) is not None]
        if not values or len(values) < len(runs):
            continue
        std = statistics.stdev(values) if len(values) > 1 else None
        summary[figure] = {"mean": math.fsum(values) / len(values), "std": std, "n": len(values)}
    return summary


def headline(first: Sequence[str] = ()) -> dict[str, str]:
    """Return `HEADLINE` with the given metrics first, such as the ``metrics`` of a task file."""
    return {figure: NAMES[figure] for figure in dict.fromkeys((*first, *HEADLINE))}


def comparison_rows(results: Mapping[str, Metrics | Sequence[Metrics]], first: Sequence[str] = ()) -> list[list[str]]:
    """Return one row per result: its name, then the headline metrics as text.

    Parameters
    ----------
    results : mapping
        name -> the metrics of one run, or a sequence of them, one per seed.
    first : sequence of str
        Metrics to show first; see `headline`.
    """
    rows = []
    for name, result in results.items():
        summary = summarize([result] if isinstance(result, Mapping) else result)
        rows.append([name, *(_spread(summary.get(figure)) for figure in headline(first))])
    return rows


def _spread(figure: Mapping[str, float | int | None] | None) -> str:
    if figure is None:
        return "-"
    std = figure["std"]
    return f"{figure['mean']:.3f}" + ("" if std is None else f" ± {std:.3f}")


def comparison_table(results: Mapping[str, Metrics | Sequence[Metrics]], first: Sequence[str] = ()) -> str:
    """Format the headline metrics of several results as a table, one row per result.

    Parameters
    ----------
    results : mapping
        name -> the metrics of one run, or a sequence of them, one per seed, shown
        as mean ± standard deviation.
    first : sequence of str
        Metrics to show first; see `headline`.
    """
    return text_table(comparison_rows(results, first), ["result", *headline(first).values()])


def first_seed(metrics: Metrics | Sequence[Metrics]) -> Metrics:
    """Return the metrics of a result, or of its first seed."""
    return metrics if isinstance(metrics, Mapping) else metrics[0]


def majority_line(metrics: Metrics) -> str:
    """State the accuracy of always predicting the most frequent gold label.

    Parameters
    ----------
    metrics : result of `pet.evaluate.evaluate` for any classifier on these texts
    """
    counts = {label: row["support"] for label, row in metrics["per_class"].items()}
    most = max(counts, key=lambda label: counts[label])
    return f"Always predicting {clean(most)!r}: accuracy {counts[most] / metrics['n']:.3f}."


def format_metrics(metrics: Metrics) -> str:
    """Format a result of `pet.evaluate.evaluate` for a terminal: headline, per-class table, confusion matrix."""
    parts = [f"{metrics['n']} examples"]
    parts += [f"{name} {metrics[figure]:.3f}" for figure, name in NAMES.items() if figure in metrics]
    first_line = f"{', '.join(parts)}\n{majority_line(metrics)}"
    per_class = metrics["per_class"]
    classes = text_table(
        [[label, row["precision"], row["recall"], row["f1"], row["support"]] for label, row in per_class.items()],
        ["label", "precision", "recall", "F1", "support"],
    )
    return "\n".join([first_line, "", classes, "", _format_confusion(metrics)])


def _format_confusion(metrics: Metrics) -> str:
    # Columns show label numbers instead of names: seventy names side by side would not fit a terminal.
    labels = list(metrics["per_class"])
    rows = [
        [f"{i} {clean(label)}", *row] for i, (label, row) in enumerate(zip(labels, metrics["confusion"], strict=True))
    ]
    return text_table(rows, ["gold \\ predicted", *(str(i) for i in range(len(labels)))])
