"""The page of `pet label --html`: how the labels are distributed, how sure they are, and the least certain texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pet.data.pick import pick_columns, pick_rows
from pet.data.read import iter_table
from pet.data.source_names import text_columns
from pet.data.table_options import TableOptions
from pet.ensemble.combine import SoftLabels
from pet.ensemble.soft_label_files import SoftLabelTable, read_soft_labels
from pet.inference.ensemble import noted_threshold
from pet.inference.label_file import Labeled
from pet.report.estimate import estimate_lines
from pet.report.html import html_report
from pet.report.pages import percent, short
from pet.report.summary import best_result
from pet.resources import expand
from pet.run.load_run import read_settings
from pet.run.results import read_results
from pet.run.shown_texts import MOST_TEXTS, label_names, other_label, soft_labels
from pet.task.task import Task

_BINS = 10


def label_report(run: str | Path, source: str, output: str | Path, counts: Labeled, table: TableOptions) -> str:
    """Return an HTML page about a file that `pet.inference.label_file.label_file` has written.

    Parameters
    ----------
    run, source, output, table : of `label_file`
    counts : what it returned
    """
    place = expand(run)
    settings, figures = read_settings(place), read_results(place)
    task = Task.from_dict(settings.task)
    nothing = SoftLabelTable([], np.zeros((0, len(task.labels))), list(task.labels), independent=task.multi_label)
    found = read_soft_labels(output, task.labels) if counts.kept else nothing
    shares = {label: number / max(counts.kept, 1) for label, number in counts.per_label.items()}
    labeled = (figures.get("class_ratio") or {}).get("labeled")
    soft = soft_labels(task, found.probabilities, noted_threshold(place, settings.method))
    histogram = np.histogram(soft.confidence, bins=_BINS, range=(0, 1))[0]
    unsure = np.argsort(soft.confidence, kind="stable")[:MOST_TEXTS]
    columns = text_columns(source, {**task.columns, **settings.columns, **table.columns})
    ids = [found.ids[row] for row in unsure.tolist()]
    shown = _texts(ids, soft.take(unsure), task, iter_table(source, task.fields, columns=columns, **table.reading))
    return html_report(
        {
            "task": task.name,
            "method": "label",
            "labels": task.labels,
            "summary": label_summary(place, source, counts, figures),
            "class_ratio": {"predicted": shares, **({"labeled": labeled} if labeled else {})},
            "pool": {
                "confidence": {f"{k / _BINS:.1f} to {(k + 1) / _BINS:.1f}": int(n) for k, n in enumerate(histogram)}
            },
            "texts": {"unsure": {"total": len(found.ids), "rows": shown}},
        }
    )


def label_summary(run: Path, source: str, counts: Labeled, figures: dict[str, Any]) -> list[str]:
    """Return sentences on a file of labels, how good they are, and what to do next; see `label_report`."""
    foreign = counts.none_of_these or 0
    why = [f"{foreign} fit no label"] if foreign else []
    why += ["the others are too unsure"] if counts.kept + foreign < counts.texts else []
    kept = f"{counts.kept} of them" if why else "all of them"
    sentences = [f"The members of {run} labeled {counts.texts} texts of {source}, and kept {', '.join([kept, *why])}."]
    tested = figures.get("ensemble") or {}
    best = None if not tested else best_result({"ensemble": tested})
    if best is not None and "accuracy_interval" in best[1]:
        low, high = best[1]["accuracy_interval"]
        sentences.append(
            f"On the {best[1]['n']} test texts of the run, {percent(best[1]['accuracy'])} of their labels are right "
            f"({100 * low:.1f} to {percent(high)}); on texts of another kind, it may be fewer."
        )
    else:
        sentences += estimate_lines(figures.get("estimate"))[:1]
    return [
        *sentences,
        "Next: read the texts below, whose labels are the least certain, and use --max-error to leave such texts out.",
    ]


def _texts(ids: Sequence[str], soft: SoftLabels, task: Task, chunks: Any) -> list[dict[str, Any]]:
    """Return what is shown of some texts, which are looked up by their ids."""
    wanted = set(ids)
    fields: dict[str, list[tuple[str, str]]] = {}
    names = task.fields if len(task.fields) > 1 else ("",)
    for chunk in chunks:
        places = [place for place, one in enumerate(chunk["id"]) if one in wanted]
        for place, row in zip(places, pick_columns(pick_rows(chunk, places), list(task.fields)), strict=True):
            values = zip(names, task.fields, strict=True)
            fields[chunk["id"][place]] = [(name, short(str(row[field]))) for name, field in values]
        if len(fields) == len(wanted):
            break
    shown = []
    for one, shares, applies, confidence in zip(ids, soft.probabilities, soft.applies, soft.confidence, strict=True):
        about: dict[str, Any] = {"fields": fields.get(one, []), "predicted": label_names(task, applies)}
        about |= {"confidence": float(confidence), **other_label(task, shares, applies)}
        shown.append(about | {"nearest": None, "votes": []})
    return shown
