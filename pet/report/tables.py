"""Plain-text tables of one or several results."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from pet.confusion import MOST_DENSE
from pet.evaluate import chance_ece
from pet.terminal import clean, counted, display_width, pad

# Headline metrics with their display names.
HEADLINE = {"accuracy": "accuracy", "macro_f1": "macro F1", "mcc": "MCC", "ece": "ECE"}
# Metrics that only some tasks have.
SPECIAL = {"f1a": "F1a", "em": "EM", "token_f1": "token F1", "qwk": "quadratic kappa", "mae": "MAE"}
# The headline of tasks whose texts may have several labels.
SETS_HEADLINE = {
    "micro_f1": "micro F1", "macro_f1": "macro F1", "lrap": "ranking precision", "exact_match": "exact match",
}  # fmt: skip
NAMES = HEADLINE | SPECIAL | SETS_HEADLINE
# Figures on each level of a hierarchy of labels, and the columns of a table of them.
_OF_LEVEL = ("accuracy", "macro_f1")
LEVELS = ("result", "level", "parents", *(NAMES[figure] for figure in _OF_LEVEL))
# Metrics whose intervals are printed. The others have theirs in metrics.json and in the report.
WITH_INTERVAL = ("accuracy", "micro_f1", "macro_f1", "em")
_WIDTH = 80  # columns of a terminal for the names of labels

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


def summarize(runs: Sequence[Metrics]) -> dict[str, Any]:
    """Compute mean and standard deviation of the headline metrics over runs with different seeds.

    Parameters
    ----------
    runs : sequence of mappings
        Each as returned by `pet.evaluate.evaluate`.

    Returns
    -------
    dict
        metric -> ``{"mean", "std", "n"}``. ``std`` is the sample standard deviation (divisor n - 1),
        or None for a single run. If the runs have intervals, ``interval`` is the mean of their ends: ``std`` says how
        much the seed matters, ``interval`` how much the choice of test texts does. Metrics that any run lacks are
        omitted. With a hierarchy of labels, ``levels`` has for each level ``labels`` (how many there are), and the same
        for its metrics.
    """
    summary: dict[str, Any] = {}
    for figure in NAMES:
        values = [float(run[figure]) for run in runs if run.get(figure) is not None]
        if not values or len(values) < len(runs):
            continue
        summary[figure] = _mean_and_deviation(values)
        intervals = [run[f"{figure}_interval"] for run in runs if f"{figure}_interval" in run]
        if len(intervals) == len(runs):
            ends = zip(*intervals, strict=True)
            summary[figure]["interval"] = [math.fsum(of_end) / len(runs) for of_end in ends]
    if runs and all(run.get("levels") for run in runs):
        levels = zip(*(run["levels"] for run in runs), strict=True)  # the same hierarchy in all runs
        summary["levels"] = [
            {"labels": one[0]["labels"]}
            | {figure: _mean_and_deviation([run[figure] for run in one]) for figure in _OF_LEVEL}
            for one in levels
        ]
    return summary


def _mean_and_deviation(values: Sequence[float]) -> dict[str, Any]:
    std = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": math.fsum(values) / len(values), "std": std, "n": len(values)}


def headline(first: Sequence[str] = (), *, multi_label: bool = False) -> dict[str, str]:
    """Return `HEADLINE`, or `SETS_HEADLINE`, with the given metrics first, such as the ``metrics`` of a task file."""
    others = SETS_HEADLINE if multi_label else HEADLINE
    return {figure: NAMES[figure] for figure in dict.fromkeys((*first, *others))}


def is_multi_label(results: Mapping[str, Metrics | Sequence[Metrics]]) -> bool:
    """Return True if the results are those of texts that may have several labels."""
    return any("exact_match" in first_seed(result) for result in results.values())


def comparison_rows(results: Mapping[str, Metrics | Sequence[Metrics]], first: Sequence[str] = ()) -> list[list[str]]:
    """Return one row per result: its name, then the headline metrics as text, the first ones with their intervals.

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
        columns = headline(first, multi_label=is_multi_label(results))
        rows.append([name, *(_spread(summary.get(figure), figure in WITH_INTERVAL) for figure in columns)])
    return rows


def _spread(figure: Mapping[str, Any] | None, with_interval: bool) -> str:
    if figure is None:
        return "-"
    std, ends = figure["std"], figure.get("interval") if with_interval else None
    spread = "" if std is None else f" ± {std:.3f}"
    return f"{figure['mean']:.3f}{spread}" + ("" if ends is None else f" {interval(ends)}")


def interval(ends: Sequence[float], sign: str = "") -> str:
    """Format an interval, with the sign of each end if `sign` is "+".

    Examples
    --------
    >>> interval([0.596, 0.982]), interval([-0.02, 0.05], "+")
    ('[0.596, 0.982]', '[-0.020, +0.050]')
    """
    return f"[{', '.join(f'{end:{sign}.3f}' for end in ends)}]"


def legend(result: Metrics | Sequence[Metrics]) -> str:
    """Say what the numbers after a figure in a comparison mean, and how many texts they are from."""
    first = first_seed(result)
    parts = [] if isinstance(result, Mapping) or len(result) < 2 else [f"± standard deviation over {len(result)} runs"]
    texts = counted(first["n"], "test text")
    if "accuracy_interval" in first or "micro_f1_interval" in first:
        return "; ".join([*parts, f"[ ] 95% interval, from {texts}"]) + "."
    return "; ".join([*parts, texts]) + "."


def calibration_line(results: Mapping[str, Metrics | Sequence[Metrics]]) -> str:
    """Say what the ECE of the last result would be by chance; nothing without its calibration."""
    name, result = list(results.items())[-1]
    calibration = first_seed(result).get("calibration")
    if not calibration:
        return ""
    chance = chance_ece(calibration)
    return f"With perfect calibration, the ECE of {clean(name)} would still be about {chance:.3f} by chance."


def difference_rows(differences: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return one row per classifier that a result is compared with: its name, differences, chances of being better.

    Parameters
    ----------
    differences : of one run, or one for each seed; see `pet.run.differences`
    """
    rows = []
    for name in differences[0]["others"]:
        found = [each["others"][name] for each in differences if name in each["others"]]
        figures = paired_figures(differences[0])
        rows.append([name, *(cell for figure in figures for cell in _difference([one[figure] for one in found]))])
    return rows


def paired_figures(differences: Mapping[str, Any]) -> dict[str, str]:
    """Return the figures that are compared pairwise, the main one first: name -> header.

    Parameters
    ----------
    differences : of one run; see `pet.run.differences`
    """
    several = any("micro_f1" in found for found in differences["others"].values())
    return {"micro_f1" if several else "accuracy": "micro F1" if several else "accuracy", "macro_f1": "macro F1"}


def _difference(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a difference with its interval, and the probability of being better; means over seeds."""
    values = [one["difference"] for one in found]
    mean, better = math.fsum(values) / len(found), math.fsum(one["better"] for one in found) / len(found)
    ends = [math.fsum(one["interval"][end] for one in found) / len(found) for end in (0, 1)]
    std = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return [f"{mean:+.3f}{std} {interval(ends, '+')}", probability(better)]


def probability(share: float) -> str:
    """Format a probability without claiming certainty.

    Examples
    --------
    >>> probability(0.9999), probability(0.5), probability(0.001)
    ('> 0.99', '0.50', '< 0.01')
    """
    return "> 0.99" if share > 0.99 else "< 0.01" if share < 0.01 else f"{share:.2f}"


def differences_table(differences: Sequence[Mapping[str, Any]]) -> str:
    """Format the paired differences of a result from others as a table.

    Parameters
    ----------
    differences : of one run, or one for each seed; see `pet.run.differences`
    """
    names = paired_figures(differences[0]).values()
    header = [f"{differences[0]['result']} minus", *(cell for name in names for cell in (name, "P(better)"))]
    return text_table(difference_rows(differences), header)


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
    columns = headline(first, multi_label=is_multi_label(results))
    return text_table(comparison_rows(results, first), ["result", *columns.values()])


def first_seed(metrics: Metrics | Sequence[Metrics]) -> Metrics:
    """Return the metrics of a result, or of its first seed."""
    return metrics if isinstance(metrics, Mapping) else metrics[0]


def level_rows(results: Mapping[str, Metrics | Sequence[Metrics]]) -> list[list[Any]]:
    """Return one row per result and level of a hierarchy of labels, in the columns of `LEVELS`; none without one.

    Parameters
    ----------
    results : see `comparison_rows`
    """
    rows = []
    for name, result in results.items():
        levels = summarize([result] if isinstance(result, Mapping) else result).get("levels", [])
        for number, level in enumerate(levels, 1):
            rows.append([name, number, level["labels"], *(_spread(level[figure], False) for figure in _OF_LEVEL)])
    return rows


def level_lines(results: Mapping[str, Metrics | Sequence[Metrics]]) -> list[str]:
    """Return the rows of `level_rows` as lines for a terminal."""
    return [
        f"{f'{clean(name)}: ' if name else ''}Level {number}, {counted(labels, 'parent')} of labels: "
        f"accuracy {accuracy}, macro F1 {macro_f1}"
        for name, number, labels, accuracy, macro_f1 in level_rows(results)
    ]


def majority_line(metrics: Metrics) -> str:
    """State the accuracy of always predicting the most frequent gold label, or how many labels texts have.

    Parameters
    ----------
    metrics : result of `pet.evaluate.evaluate` for any classifier on these texts
    """
    counts = {label: row["support"] for label, row in metrics["per_class"].items()}
    most = max(counts, key=lambda label: counts[label])
    if "exact_match" in metrics:
        share = sum(counts.values()) / metrics["n"]
        return f"The texts have {share:.2f} labels on average; the most frequent is {clean(most)!r} ({counts[most]})."
    return f"Always predicting {clean(most)!r}: accuracy {counts[most] / metrics['n']:.3f}."


def format_metrics(metrics: Metrics) -> str:
    """Format a result of `pet.evaluate.evaluate` for a terminal: headline, per-class table, confusion matrix.

    Texts that may have several labels have no confusion matrix.
    """
    parts = [counted(metrics["n"], "example")]
    for figure, name in NAMES.items():
        if figure in metrics:
            ends = metrics.get(f"{figure}_interval") if figure in WITH_INTERVAL else None
            parts.append(f"{name} {metrics[figure]:.3f}" + (f" {interval(ends)}" if ends else ""))
    first_line = f"{', '.join(parts)}\n{majority_line(metrics)}"
    if metrics.get("none_of_these"):
        first_line += f"\n{_fit_line(metrics['none_of_these'])}"
    per_class = metrics["per_class"]
    classes = text_table(
        [[label, row["precision"], row["recall"], row["f1"], row["support"]] for label, row in per_class.items()],
        ["label", "precision", "recall", "F1", "support"],
    )
    classes = "\n".join([*level_lines({"": metrics}), *([""] if metrics.get("levels") else []), classes])
    confusion = ["", _format_confusion(metrics)] if "confusion" in metrics else []
    return "\n".join([first_line, "", classes, *confusion])


def _fit_line(found: Mapping[str, Any]) -> str:
    """Say what a threshold of the fit would keep and leave out."""
    right = {part: found[f"{part}_right"] for part in ("kept", "dropped")}
    accuracy = {part: "" if share is None else f" (accuracy {share:.3f})" for part, share in right.items()}
    return (
        f"fit at least {found['threshold']:.3f}: keeps {found['kept']} texts{accuracy['kept']}, leaves out "
        f"{found['dropped']}{accuracy['dropped']}"
    )


def _format_confusion(metrics: Metrics) -> str:
    names = [clean(label) for label in metrics["per_class"]]
    if len(names) > MOST_DENSE:
        return f"--json prints how often each of {len(names)} labels is taken for another one."
    heads, rows = names, names
    if sum(display_width(name) + 2 for name in names) > _WIDTH:  # seventy names would not fit side by side
        heads = [str(number) for number in range(1, len(names) + 1)]
        rows = [f"{number} {name}" for number, name in zip(heads, names, strict=True)]
    cells = [[row, *counts] for row, counts in zip(rows, metrics["confusion"], strict=True)]
    return text_table(cells, ["gold \\ predicted", *heads])
