"""report.html of a run: one file that loads nothing and can be read without scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pet.report import charts
from pet.report.confused import confusion_section
from pet.report.estimate import estimate_lines
from pet.report.generations import generation_rows, generations_overview
from pet.report.pages import render
from pet.report.shares import ESTIMATED, share_columns
from pet.report.summary import best_result, result_name, summary
from pet.report.tables import (
    LEVELS,
    Metrics,
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
from pet.settings import as_given

_MOST_LABELS = 300  # rows of a table of labels
_MOST_CURVES = 24
_FAR = 0.3  # a difference between accuracies that needs no drawing


def html_report(result: Mapping[str, Any]) -> str:
    """Return the HTML report of a run.

    Parameters
    ----------
    result : mapping
        Any of these keys; absent or empty ones are omitted from the report.

        - the content of metrics.json; see `pet.run.pipeline.run`. ``members``, ``ensemble``, ``student`` and
          ``baselines`` have results of `pet.evaluate.evaluate`, or a sequence of them, one per seed; matrices and
          charts then show the first seed
        - ``labels``, ``config``, ``messages``: label names, plain values nested to any depth, warnings of the run
        - ``summary``: sentences to start with; default: those of `pet.report.summary.summary`
        - ``tables``, ``weights``, ``student_losses``, ``pool``, ``coverage``, ``fit``, ``left_out``, ``confused``,
          ``texts``: see `pet.run.evidence`

    Returns
    -------
    str
        HTML. Every text in `result` is escaped; control characters are shown as escapes, such as ``\\u202e``.
    """
    title = f"{result.get('task', 'run')}: {result.get('method', 'pet')}"
    settings = (result.get("config") or {}).get("settings")
    task = (settings.get("task") if isinstance(settings, Mapping) else None) or {}
    results = _results(result)
    found = {
        "data": _data(result, task),
        "quality": _quality(result, results, task.get("metrics", ())),
        "members": _members(result) | {"several": bool(task.get("multi_label"))},
        "confusion": confusion_section(result),
        "charts": _charts(result),
        "fit": [
            [row["share"], row["threshold"], row["kept"], row["kept_right"], row["dropped"], row["dropped_right"]]
            for row in result.get("fit") or ()
        ],
        "texts": result.get("texts") or {},
        "curves": _curves(result),
        "generations": _generations(result.get("generations") or (), result.get("labels") or ()),
        "config": list(_flat(result["config"])) if result.get("config") else [],
    }
    notes = [*(result.get("messages") or ()), *(result.get("advice") or ())]
    said = result.get("summary") or summary(result)
    return render("report.html", title=title, summary=said, notes=notes, sections=_sections(found), **found)


def _sections(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return anchor and title of the sections that the page has, in their order."""
    there = {
        "data": found["data"]["tables"] or found["data"]["rows"],
        "quality": found["quality"]["rows"] or found["quality"]["estimate"],
        "members": found["members"]["rows"],
        "confusion": found["confusion"],
        "confidence": found["charts"],
        "texts": found["texts"],
        "training": found["curves"],
        "generations": found["generations"],
        "settings": found["config"],
    }
    titles = {"quality": "Expected quality"}
    return [(name, titles.get(name, name.capitalize())) for name, content in there.items() if content]


# ---- data --------------------------------------------------------------------------------------


def _data(result: Mapping[str, Any], task: Mapping[str, Any]) -> dict[str, Any]:
    labeled = (result.get("data") or {}).get("train_per_label") or {}
    descriptions = task.get("descriptions") or {}
    header, shares = share_columns([result.get("class_ratio") or {}])
    labels = list(dict.fromkeys([*labeled, *shares, *descriptions]))[:_MOST_LABELS]
    rows = [
        [
            label,
            *([descriptions.get(label, "")] if descriptions else []),
            *([labeled.get(label, 0)] if labeled else []),
            *shares.get(label, [None] * len(header)),
        ]
        for label in labels
    ]
    header = ["label", *(["meaning"] if descriptions else []), *(["labeled texts"] if labeled else []), *header]
    return {"tables": result.get("tables") or {}, "header": header, "rows": rows, "estimated": ESTIMATED in header,
            "removed": (result.get("data") or {}).get("removed_from_pool", 0)}  # fmt: skip


# ---- quality -----------------------------------------------------------------------------------


def _quality(result: Mapping[str, Any], results: Mapping[str, Any], first: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "rows": [],
        "estimate": estimate_lines(result.get("estimate")),
        "differences": [],
        "labels": [],
    }
    if results:
        figures = first_seed(next(iter(results.values())))
        columns = {
            name: header
            for name, header in headline(first, multi_label=is_multi_label(results)).items()
            if any(name in first_seed(each) for each in results.values())
        }
        found |= {"header": ["result", *columns.values()], "rows": comparison_rows(results, list(columns))}
        found["rows"] = [row[: len(columns) + 1] for row in found["rows"]]
        found["legend"] = legend(next(iter(results.values()))) if "n" in figures else ""
        found["majority"] = majority_line(figures) if figures.get("per_class") else ""
        found |= {"levels": level_rows(results), "levels_header": LEVELS}
    differences = result.get("differences")
    if differences:
        found["against"] = differences["result"]
        found["figures"] = list(paired_figures(differences).values())
        found["differences"] = _spans(differences)
    best = best_result(result)
    if best is not None and best[1].get("per_class"):
        found["of"], found["labels"] = best[0], _per_label(best[1])
    return found


def _spans(differences: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return rows of the table of differences, and where their intervals are drawn."""
    others: Mapping[str, Any] = differences["others"]
    main = next(iter(paired_figures(differences)))
    # Nearly everything is far better than always the same label. The others would be too small to see.
    close = [found for found in others.values() if abs(found[main]["difference"]) < _FAR] or list(others.values())
    scale = max([0.01, *(abs(end) for found in close for end in found[main]["interval"])])
    rows = []
    for cells, (name, found) in zip(difference_rows([differences]), others.items(), strict=True):
        low, high = found[main]["interval"]
        drawn = charts.span(low, found[main]["difference"], high, scale)
        rows.append({"name": name, "cells": cells[1:], "span": drawn, "wins": found["wins"], "losses": found["losses"]})
    return rows


def _per_label(metrics: Metrics) -> list[list[Any]]:
    """Return figures by label; of very many labels, those that are recognized worst."""
    rows = [
        [label, row.get("precision"), row.get("recall"), row.get("f1"), row.get("support")]
        for label, row in metrics["per_class"].items()
    ]
    if len(rows) > _MOST_LABELS:
        rows = sorted(rows, key=lambda row: row[3])[:_MOST_LABELS]
    return rows


def _results(result: Mapping[str, Any]) -> dict[str, Metrics | Sequence[Metrics]]:
    found: dict[str, Metrics | Sequence[Metrics]] = {}
    for name, baseline in (result.get("baselines") or {}).items():
        metrics = baseline.get("student") or baseline.get("ensemble")
        if metrics:
            found[f"baseline {name}"] = metrics
    method = result.get("method")
    found.update({result_name(name, method): result[name] for name in ("ensemble", "student") if result.get(name)})
    return found


# ---- members -----------------------------------------------------------------------------------


def _members(result: Mapping[str, Any]) -> dict[str, Any]:
    weights = {row["name"]: row for row in result.get("weights") or ()}
    figures = result.get("members") or {}
    rows = []
    for name in dict.fromkeys([*weights, *figures]):
        about, metrics = weights.get(name, {}), figures.get(name) or {}
        rows.append(
            {
                "name": name,
                "pattern": about.get("pattern", ""),
                "weight": about.get("weight"),
                "left_out": about.get("left_out"),
                "agreement": about.get("agreement"),
                "accuracy": metrics.get("accuracy"),
                "interval": interval(metrics["accuracy_interval"]) if "accuracy_interval" in metrics else "",
            }
        )
    shown = {
        key for key in ("weight", "left_out", "agreement", "accuracy") if any(row[key] is not None for row in rows)
    }
    return {"rows": rows, "shown": shown, "patterns": any(row["pattern"] for row in rows)}


# ---- charts ------------------------------------------------------------------------------------


def _charts(result: Mapping[str, Any]) -> list[charts.Chart]:
    found, best, pool = [], best_result(result), result.get("pool") or {}
    if best is not None and best[1].get("calibration"):
        found.append(charts.reliability(best[1]["calibration"], best[1].get("ece", 0.0)))
    if result.get("coverage"):
        found.append(charts.coverage(result["coverage"]))
    if pool.get("confidence"):
        found.append(charts.histogram("Confidence in the unlabeled texts", "confidence", pool["confidence"]))
    if pool.get("agreement"):
        found.append(charts.histogram("Members that agree, by unlabeled text", "members that agree", pool["agreement"]))
    return found


def _curves(result: Mapping[str, Any]) -> list[charts.Chart]:
    curves = {result_name("student", result.get("method")): result.get("student_losses") or []}
    curves |= {row["name"]: row["losses"] for row in result.get("weights") or () if row.get("losses")}
    drawn = {name: values for name, values in curves.items() if sum(value is not None for value in values) > 1}
    return [charts.losses(f"Loss of {name}", values) for name, values in drawn.items()][:_MOST_CURVES]


def _generations(history: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> dict[str, Any]:
    if not history:
        return {}
    header, rows = generations_overview(history)
    each = []
    for entry in history:
        _, *of_labels = generation_rows([entry], labels)
        columns = [name for name in of_labels[0] if any(row[name] is not None for row in of_labels)]
        columns.remove("generation")
        shown = of_labels[:_MOST_LABELS]
        each.append(
            {
                "number": int(entry["generation"]),
                "verdict": _verdict(entry),
                "header": columns,
                "rows": [[row[name] for name in columns] for row in shown],
            }
        )
    return {"header": header, "rows": rows, "each": each}


def _verdict(entry: Mapping[str, Any]) -> list[str]:
    """Say whether a generation is used, and why it is the last."""
    lines = [f"{'Accepted' if entry['accepted'] else 'Not accepted'}: {entry['reason']}."] if "reason" in entry else []
    return [*lines, *([f"The last generation: {entry['ended']}."] if "ended" in entry else [])]


def _flat(config: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(config, Mapping) and config:
        for key, value in config.items():
            yield from _flat(value, f"{name}.{key}" if name else str(key))
    else:
        yield name, as_given(config) if isinstance(config, bool) else config
