"""Statistics of iPET generations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def pool_figures(
    label: Array, confidence: Array, agreement: Array, before: Array | None, labels: int
) -> dict[str, Any]:
    """Summarize a generation's soft labels of the pool.

    Parameters
    ----------
    label : int array of shape (rows,), most probable label of each text
    confidence, agreement : float arrays of shape (rows,)
    before : most probable labels in the previous generation, shape (rows,); None for the first generation
    labels : number of labels

    Returns
    -------
    dict of plain values
        - ``rows``: number of texts
        - ``shares``: share of each label
        - ``confidence``, ``agreement``: means over all texts
        - ``label_confidence``, ``label_agreement``: means per label (None for a label without texts)
        - ``changed``: share of texts whose label differs from the previous generation (None for the first)

    Examples
    --------
    >>> figures = pool_figures(np.array([0, 0, 1, 0]), np.full(4, 0.5), np.ones(4), np.array([0, 1, 1, 0]), 2)
    >>> figures["shares"], figures["changed"]
    ([0.75, 0.25], 0.25)
    """
    counts = np.bincount(label, minlength=labels)
    figures: dict[str, Any] = {"rows": len(label), "shares": (counts / len(label)).tolist()}
    for name, values in (("confidence", confidence), ("agreement", agreement)):
        figures[name] = math.fsum(values) / len(values)
        sums = np.bincount(label, weights=values, minlength=labels)
        figures[f"label_{name}"] = [float(s / n) if n else None for s, n in zip(sums, counts, strict=True)]
    figures["changed"] = None if before is None else float((before != label).mean())
    return figures


def example_figures(examples: Mapping[str, Any]) -> dict[str, Any]:
    """Average the members' counts of pseudo-labeled texts; empty for a generation without any.

    Parameters
    ----------
    examples : ``wanted`` (texts per label), and ``members``: name -> ``available``, ``chosen`` (texts per label) and
        ``confidence`` (mean, or None)

    Returns
    -------
    dict with ``wanted``, ``available``, ``chosen`` (texts per label), ``texts`` and ``chosen_confidence``
    """
    if not examples:
        return {}
    members = list(examples["members"].values())
    texts = [m["texts"] for m in members if "texts" in m]
    sure = [m["confidence"] for m in members if m["confidence"] is not None]
    return {
        "wanted": examples["wanted"],
        "available": np.mean([m["available"] for m in members], axis=0).tolist(),
        "chosen": np.mean([m["chosen"] for m in members], axis=0).tolist(),
        **({"texts": float(np.mean(texts))} if texts else {}),
        "chosen_confidence": math.fsum(sure) / len(sure) if sure else None,
    }


def shortages(generation: int, examples: Mapping[str, Any], labels: Sequence[str]) -> list[str]:
    """Return a warning that names the labels with fewer texts than wanted, if any.

    Parameters
    ----------
    generation : number of the generation
    examples : see `example_figures`
    labels : label names
    """
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
    return [f"generation {generation}: the pool has too few texts labeled {', '.join(short)}; using all of them"]
