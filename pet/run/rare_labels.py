"""What labels with few labeled texts got."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_FEW = 5  # labeled texts
_TIMES = 3  # a label is rare if the mean label has this many times as many labeled texts
_LISTED = 5  # labels in a sentence


def rare_labels(counts: Mapping[str, int], metrics: Mapping[str, Any], setting: str | None) -> list[str]:
    """Return a sentence on the labels with few labeled texts, or nothing if all labels have as many as the others.

    Parameters
    ----------
    counts : label -> number of labeled texts
    metrics : figures of the result on the test texts
    setting : what may help labels that have some texts; None: nothing in this run

    Examples
    --------
    >>> figures = {"f1": 0.25, "recall": 0.2, "support": 10}
    >>> metrics = {"per_class": {"a": {"f1": 0.75, "recall": 1.0, "support": 10}, "b": figures}}
    >>> print(*rare_labels({"a": 20, "b": 1}, metrics, "class_weight=balanced"))
    rare labels: 'b' (1 labeled text) has F1 0.250 and recall 0.200 on 10 test texts; the others have F1 0.750 on \
average; label more of these texts, or try --set class_weight=balanced
    """
    rows, mean = metrics["per_class"], sum(counts.values()) / len(counts)
    rare = [
        label
        for label, count in sorted(counts.items(), key=lambda item: item[1])
        if count <= _FEW and _TIMES * count <= mean and rows[label]["support"]
    ]
    others = [row["f1"] for label, row in rows.items() if label not in rare and row["support"]]
    if not rare or not others:
        return []
    shown = [
        f"{label!r} ({counts[label]} labeled {'text' if counts[label] == 1 else 'texts'}) has F1 "
        f"{rows[label]['f1']:.3f} and recall {rows[label]['recall']:.3f} on {rows[label]['support']} test texts"
        for label in rare[:_LISTED]
    ]
    more = f", and {len(rare) - _LISTED} more labels are as rare" if len(rare) > _LISTED else ""
    cure = "label more of these texts" + (f", or try --set {setting}" if setting else "")
    if not any(counts[label] for label in rare):
        cure = "label some of these texts"
    return [
        f"rare labels: {', '.join(shown)}{more}; the others have F1 {sum(others) / len(others):.3f} on average; {cure}"
    ]
