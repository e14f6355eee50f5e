"""A report of everything that reports can show, made of texts that try to break out of their place."""

from __future__ import annotations

from typing import Any

import numpy as np

from pet.evaluate import evaluate
from pet.statistics import paired

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</table></body><iframe src='//example.org'>",
    "a\n---\nlicense: stolen\n---\n",
    "---",
    "no",
    "1",
    "null",
    "- x: !!python/object/apply:os.system [ls]",
    "| a | b |",
    "`code` **bold** [link](javascript:alert(1)) ![i](x)",
    "&lt;&amp;",
    "{{7*7}} ${x} %s {0}",
    "# head",
    "tab\there \x1b[31m\x00\x7f\x85",
    "\u202eevil\u2028",
    "\ud800",
    "😀 情感",
    " ",
    "trailing:",
    "#",
]


def metrics(labels: list[str], seed: int = 0) -> dict[str, Any]:
    """Figures of random predictions for forty texts."""
    draw = np.random.default_rng(seed)
    return evaluate(draw.dirichlet(np.ones(len(labels)), 40), draw.integers(len(labels), size=40), labels)


def generation(number: int, labels: int) -> dict[str, Any]:
    """One entry of a run's history; the first generation has no pseudo-labeled texts."""
    each = [0.5] * labels
    pool = {"confidence": 0.75, "agreement": 0.875, "changed": 0.125 if number else None, "shares": each}
    pool |= {"label_confidence": each, "label_agreement": each}
    entry = {"generation": number, "trained": True, "labeled": 10, "pool": pool}
    return entry | ({"wanted": [20] * labels, "available": [7.0] * labels, "chosen": [7.0] * labels} if number else {})


def text(number: int, labels: list[str], fields: int = 1) -> dict[str, Any]:
    """A text as `pet.run.shown_texts` describes it."""
    label = lambda k: labels[(number + k) % len(labels)]  # noqa: E731
    named = [(f"field {k}" if fields > 1 else "", f"{label(k)} {number} and " + "long" * 60) for k in range(fields)]
    near = {"fields": named, "label": label(2), "similarity": 0.5}
    about = {"fields": named, "gold": label(0), "predicted": label(1), "confidence": 0.75, "nearest": near}
    return about | {"second": label(2), "second_confidence": 0.25, "votes": [(label(1), 2), (label(2), 1)]}


def full_report(labels: list[str] = HOSTILE, names: list[str] = HOSTILE, fields: int = 1) -> dict[str, Any]:
    """Every key that `pet.report.html.html_report` knows.

    Parameters
    ----------
    labels : of the task
    names : of members, settings, messages and so on
    fields : of the task
    """
    result, other = metrics(labels), metrics(labels, 1)
    gold = np.arange(40) % len(labels)
    pair = {"gold": labels[0], "predicted": labels[-1], "count": 3, "of": 7}
    member = {"weight": 0.5, "losses": [2.0, None, 1.0], "left_out": [3, 8], "agreement": 0.75}
    return {
        "task": names[0],
        "method": names[1],
        "data": {"train": 40, "pool": 400, "removed_from_pool": 2, "train_per_label": dict.fromkeys(labels, 2)},
        "config": {"training": {"lr": 1e-05, "on": True, names[2]: names}, "empty": {}, "none": None},
        "messages": names,
        "advice": names[:1],
        "members": {names[3]: result, "p2-r1": other},
        "ensemble": [result, other],
        "student": result,
        "baselines": {names[0]: {"student": result}, "none": {"members": {}, "ensemble": {}}},
        "differences": {"result": "student", "others": {names[0]: paired(gold, gold, 0 * gold, len(labels))}},
        "class_ratio": {
            name: dict.fromkeys(labels, share)
            for name, share in {"predicted": 0.1, "labeled": 0.2, "estimated": 0.15, "low": 0.05, "high": 0.25}.items()
        },
        "estimate": {"accuracy": 0.8, "low": 0.7, "high": 0.9, "disagreement": 0.1, "judged": 8, "wrong": 2},
        "labels": labels,
        "generations": [
            generation(0, len(labels)),
            generation(1, len(labels)) | {"accepted": True, "reason": names[0]},
        ],
        "tables": {
            part: {"rows": 40, "duplicates": 1, "median": 9, "most": 20, "longest": 50, "cut": 0.25}
            for part in ("train", "pool", "test")
        },
        "weights": [{"name": name, "pattern": name, **member} for name in names[:4]],
        "student_losses": [3.0, 1.0, 0.5],
        "pool": {"confidence": {"0.0 to 0.5": 100, "0.5 to 1.0": 300}, "agreement": {"0": 0, "1": 100, "2": 300}},
        "coverage": [{"n": n, "right": n - n // 10, "share": n / 40, "confidence": 1 - n / 80} for n in (10, 20, 40)],
        "confused": {"pairs": [pair | {"texts": [[("", name)] for name in names]}]},
        "texts": {
            name: {"total": 90, "rows": [text(number, labels, fields) for number in range(6)]}
            for name in ("wrong", "doubtful", "contradicted")
        },
    }
