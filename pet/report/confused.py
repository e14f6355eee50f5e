"""The section of a report about labels that are confused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pet.confusion import Confusion
from pet.report.summary import best_result

MOST_IN_MATRIX = 20  # labels of a matrix that a page can show with its numbers
_MOST_CELLS = 3000
_MOST_PAIRS = 10


def confusion_section(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the section shows: a matrix, or a heat map of many labels, and the pairs that are confused most.

    Parameters
    ----------
    result : see `pet.report.html.html_report`. Without test texts, those are shown that members left out

    Examples
    --------
    >>> found = confusion_section({"left_out": {"confusion": [[3, 0], [1, 2]], "labels": ["a", "b"]}})
    >>> found["texts"], found["rows"][1], found["pairs"][0]["count"]
    ('Labeled texts', {'label': 'b', 'cells': [(1, 'b3'), (2, 'h3')]}, 1)
    """
    best, left_out = best_result(result), result.get("left_out")
    if best is not None and best[1].get("confusion"):
        counts, of, texts = Confusion.read(best[1]["confusion"]), f"of the {best[0]}", "Test texts"
        labels = list(best[1].get("per_class") or map(str, range(counts.labels)))
    elif left_out:
        counts, of, texts = Confusion.read(left_out["confusion"]), "by members that left them out", "Labeled texts"
        labels = list(left_out["labels"])
    else:
        return {}
    found: dict[str, Any] = {"of": of, "texts": texts, "labels": labels, "rows": [], "cells": [], "size": len(labels)}
    confused = result.get("confused") or {}
    found["pairs"] = confused.get("pairs") or _pairs(counts, labels)
    if len(labels) <= MOST_IN_MATRIX:
        matrix = counts.matrix()
        found["rows"] = [
            {"label": label, "cells": [(count, _shade(count, sum(row), i == j)) for j, count in enumerate(row)]}
            for i, (label, row) in enumerate(zip(labels, matrix, strict=True))
        ]
    else:
        found["cells"] = _cells(counts)
    return found


def _shade(count: int, support: int, right: bool) -> str:
    share = count / support if support else 0.0
    if not count:
        return ""
    if right:
        return f"h{1 + min(3, int(share * 4))}"
    return f"b{1 + min(2, int(share * 6))}"


def _cells(counts: Confusion) -> list[tuple[float, float, float, float, bool]]:
    """Return the squares of a heat map: x, y, size, opacity, and whether the label is right."""
    size, support = round(300 / counts.labels, 3), counts.support.tolist()
    cells = [
        (round(10 + j * size, 2), round(10 + i * size, 2), size, round(0.25 + 0.75 * count / support[i], 2), i == j)
        for i, j, count in counts.cells()
    ]
    return sorted(cells, key=lambda cell: -cell[3])[:_MOST_CELLS]


def _pairs(counts: Confusion, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return the most confused pairs of labels, without texts."""
    support = counts.support.tolist()
    found: list[dict[str, Any]] = [
        {"gold": labels[i], "predicted": labels[j], "count": count, "of": support[i], "texts": []}
        for i, j, count in counts.cells()
        if i != j
    ]
    return sorted(found, key=lambda pair: -pair["count"])[:_MOST_PAIRS]
