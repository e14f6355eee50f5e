"""Present iPET generations: log lines, tables and a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from pet.report.tables import text_table
from pet.store.spreadsheet import quoted


def generation_line(entry: Mapping[str, Any]) -> str:
    """Return a one-line summary of a generation for the log."""
    pool = entry["pool"]
    parts = [f"generation {entry['generation']}:"]
    parts.append("untrained" if not entry["trained"] else f"{training_texts(entry):.0f} texts per member")
    parts.append(f"confidence {pool['confidence']:.3f}")
    parts.append(f"agreement {pool['agreement']:.3f}")
    if pool["changed"] is not None:
        parts.append(f"labels changed {100 * pool['changed']:.1f}%")
    if entry.get("gold"):
        parts.append(f"pseudo-label accuracy {entry['gold']['accuracy']:.3f}")
    return "  ".join(parts)


def training_texts(entry: Mapping[str, Any]) -> float:
    """Return the mean number of training texts per member of a generation."""
    return float(entry["labeled"] + entry.get("texts", sum(entry.get("chosen", []))))


def generation_rows(history: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row per generation and label, preceded by one row per generation with an empty label for the total.

    Parameters
    ----------
    history : one entry per generation, as a run writes them to metrics.json
    labels : labels in task order

    Returns
    -------
    list of dict
        Missing values are None.

        - ``generation``, ``label``
        - ``wanted``, ``available``, ``chosen``: numbers of texts; the latter two are means over the members
        - ``confidence``, ``agreement``: means over the pool, or over its texts with this label
        - ``share``: share of the pool
        - ``changed``: share of the pool whose label differs from the previous generation
        - ``test_accuracy``, or ``test_micro_f1`` if texts may have several labels
        - ``accepted``: "yes" or "no"; the student learns from the last generation that was accepted
        - ``pool_accuracy``, ``chosen_accuracy``: only if the pool has hidden gold labels
    """
    rows = []
    for entry in history:
        pool, gold = entry["pool"], entry.get("gold") or {}
        whole = {
            "confidence": pool["confidence"],
            "agreement": pool["agreement"],
            "share": 1.0,
            "changed": pool["changed"],
            "test_accuracy": (entry.get("test") or {}).get("accuracy"),
            "pool_accuracy": gold.get("accuracy"),
            "chosen_accuracy": gold.get("chosen_accuracy"),
            "accepted": None if "accepted" not in entry else "yes" if entry["accepted"] else "no",
        }
        several = {"test_micro_f1": entry["test"]["micro_f1"]} if "micro_f1" in (entry.get("test") or {}) else {}
        whole |= several
        rows.append(_row(entry, "", sum, whole))
        for i, label in enumerate(labels):
            of_label = {
                "confidence": pool["label_confidence"][i],
                "agreement": pool["label_agreement"][i],
                "share": pool["shares"][i],
                "changed": None,
                "test_accuracy": None,
                "pool_accuracy": gold["label_accuracy"][i] if "label_accuracy" in gold else None,
                "chosen_accuracy": gold["label_chosen_accuracy"][i] if "label_chosen_accuracy" in gold else None,
                "accepted": None,
                **dict.fromkeys(several),
            }
            rows.append(_row(entry, label, itemgetter(i), of_label))
    return rows


def _row(
    entry: Mapping[str, Any], label: str, take: Callable[[Any], Any], figures: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a row of `generation_rows`; `take` reduces per-label counts to one number."""
    counts = {name: take(entry[name]) if name in entry else None for name in ("wanted", "available", "chosen")}
    return {"generation": entry["generation"], "label": label, **counts, **figures}


def generations_csv(history: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> str:
    """Format `generation_rows` as CSV."""
    rows = generation_rows(history, labels)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | {"label": quoted(row["label"])} for row in rows)  # a spreadsheet may open the file
    return text.getvalue()


_COLUMNS = {
    "generation": "generation",
    "texts": "texts",
    "confidence": "confidence",
    "agreement": "agreement",
    "changed": "changed",
    "chosen_accuracy": "chosen accuracy",
    "pool_accuracy": "pool accuracy",
    "test_accuracy": "test accuracy",
    "test_micro_f1": "test micro F1",
    "accepted": "accepted",
}


def generations_overview(history: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Return a header and one row per generation: texts per member, confidence, agreement, changed labels, accuracy."""
    rows = []
    for entry in history:
        row = generation_rows([entry], [])[0]
        rows.append(row | {"texts": round(training_texts(entry)) if entry["trained"] else 0})
    shown = [name for name in _COLUMNS if any(row.get(name) is not None for row in rows)]
    return [_COLUMNS[name] for name in shown], [[row[name] for name in shown] for row in rows]


def generations_table(history: Sequence[Mapping[str, Any]]) -> str:
    """Format `generations_overview` as a plain-text table."""
    header, rows = generations_overview(history)
    return text_table(rows, header)
