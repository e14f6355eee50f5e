"""What is told about the generations of iPET: figures, a line for each, tables, a file to plot from."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pet.ensemble.pseudo_labels import label_positions
from pet.report.tables import text_table


def pool_figures(path: Path, before: Path | None, labels: Sequence[str]) -> dict[str, Any]:
    """What a generation says of the pool, from its soft labels.

    Returns
    -------
    dict with ``shares`` (of each label), ``confidence`` and ``agreement`` (means over the texts), the same two for
    the texts of each label, ``label_confidence`` and ``label_agreement`` (None for a label of no text), and
    ``changed``, the share of the texts whose label is another than in the generation before (None: there is none)
    """
    table = pq.read_table(path, columns=["label", "confidence", "agreement"])
    label = label_positions(table["label"], labels)
    figures: dict[str, Any] = {"rows": len(label)}
    counts = np.bincount(label, minlength=len(labels))
    figures["shares"] = (counts / len(label)).tolist()
    for name in ("confidence", "agreement"):
        values = table[name].to_numpy()
        figures[name] = math.fsum(values) / len(values)
        sums = np.bincount(label, weights=values, minlength=len(labels))
        figures[f"label_{name}"] = [float(s / n) if n else None for s, n in zip(sums, counts, strict=True)]
    figures["changed"] = None
    if before is not None:
        earlier = label_positions(pq.read_table(before, columns=["label"])["label"], labels)
        figures["changed"] = float((earlier != label).mean())
    return figures


def example_figures(examples: Mapping[str, Any]) -> dict[str, Any]:
    """Means over the members of how many texts they got; empty for a generation without new texts."""
    if not examples:
        return {}
    members = list(examples["members"].values())
    sure = [m["confidence"] for m in members if m["confidence"] is not None]
    return {
        "wanted": examples["wanted"],
        "available": np.mean([m["available"] for m in members], axis=0).tolist(),
        "chosen": np.mean([m["chosen"] for m in members], axis=0).tolist(),
        "chosen_confidence": math.fsum(sure) / len(sure) if sure else None,
    }


def shortages(generation: int, examples: Mapping[str, Any], labels: Sequence[str]) -> list[str]:
    """A message for the labels of which there were fewer texts than wanted."""
    if not examples:
        return []
    chosen = np.asarray([m["chosen"] for m in examples["members"].values()])
    wanted = np.asarray(examples["wanted"])
    short = [
        f"{label!r} ({chosen[:, i].min()} to {chosen[:, i].max()} of {wanted[i]})"
        for i, label in enumerate(labels)
        if (chosen[:, i] < wanted[i]).any()
    ]
    if not short:
        return []
    return [f"generation {generation}: the pool has fewer texts than wanted of {', '.join(short)}; all were taken"]


def generation_line(entry: Mapping[str, Any]) -> str:
    """One line about a generation, for who waits."""
    pool = entry["pool"]
    parts = [f"generation {entry['generation']}:"]
    parts.append("untrained" if not entry["trained"] else f"{training_texts(entry):.0f} texts a member")
    parts.append(f"confidence {pool['confidence']:.3f}")
    parts.append(f"agreement {pool['agreement']:.3f}")
    if pool["changed"] is not None:
        parts.append(f"labels changed {100 * pool['changed']:.1f} %")
    if entry.get("gold"):
        parts.append(f"pseudo-label accuracy {entry['gold']['accuracy']:.3f}")
    return "  ".join(parts)


def training_texts(entry: Mapping[str, Any]) -> float:
    """Mean number of texts that a member of a generation learned from."""
    return float(entry["labeled"] + sum(entry.get("chosen", [])))


def generation_rows(history: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> list[dict[str, Any]]:
    """One row for each generation and label, and for each generation one with an empty label about all of them.

    Parameters
    ----------
    history : what `pet.run.generations.Generations` knows of each generation
    labels : those of the task

    Returns
    -------
    list of dict with the keys ``generation``, ``label``, ``wanted``, ``available``, ``chosen`` (texts, the latter two
    as means over the members), ``confidence``, ``agreement`` (means over the pool, or its texts with that label),
    ``share`` (of the pool), ``changed`` (share of the pool with another label than before),
    ``test_accuracy``, and where there are hidden labels ``pool_accuracy`` and ``chosen_accuracy``; None where a value
    does not exist
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
        }
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
            }
            rows.append(_row(entry, label, itemgetter(i), of_label))
    return rows


def _row(
    entry: Mapping[str, Any], label: str, take: Callable[[Any], Any], figures: Mapping[str, Any]
) -> dict[str, Any]:
    """A row of `generation_rows`; `take` makes one number of those of all labels."""
    counts = {name: take(entry[name]) if name in entry else None for name in ("wanted", "available", "chosen")}
    return {"generation": entry["generation"], "label": label, **counts, **figures}


def generations_csv(history: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> str:
    """`generation_rows` as the text of a CSV file, which any plotting tool reads."""
    rows = generation_rows(history, labels)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


_COLUMNS = {
    "generation": "generation",
    "texts": "texts",
    "confidence": "confidence",
    "agreement": "agreement",
    "changed": "changed",
    "chosen_accuracy": "right among chosen",
    "pool_accuracy": "right in pool",
    "test_accuracy": "test accuracy",
}


def generations_overview(history: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Header and a row for each generation: texts of a member, confidence, agreement, changed labels, accuracies."""
    rows = []
    for entry in history:
        row = generation_rows([entry], [])[0]
        rows.append(row | {"texts": round(training_texts(entry)) if entry["trained"] else 0})
    shown = [name for name in _COLUMNS if any(row[name] is not None for row in rows)]
    return [_COLUMNS[name] for name in shown], [[row[name] for name in shown] for row in rows]


def generations_table(history: Sequence[Mapping[str, Any]]) -> str:
    """The overview as plain text."""
    header, rows = generations_overview(history)
    return text_table(rows, header)
