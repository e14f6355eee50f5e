"""The model card: README.md of a saved classifier."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from pet.report.tables import HEADLINE
from pet.terminal import clean

# Only OWNER/NAME or NAME as the hub allows them; a local path would tell about somebody's machine.
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
_PER_CLASS = ("precision", "recall", "f1")
_METHODS = {
    "pet": "It was distilled from an ensemble of language models, each tuned on a few labeled"
    " examples rewritten as cloze questions (Pattern-Exploiting Training, arXiv 2001.07676).",
    "ipet": "It was distilled from the last of several generations of language models tuned on"
    " cloze questions, each of which labeled examples for the next (iPET, arXiv 2001.07676).",
    "zero-shot": "It was distilled from language models that answered cloze questions without"
    " having seen a labeled example.",
    "supervised": "It was tuned on the labeled examples alone, without patterns or unlabeled text.",
    "distill": "It was distilled from soft labels.",
}


def student_card(
    *,
    task: str,
    labels: Sequence[str],
    method: str,
    base_model: str,
    description: str = "",
    patterns: Sequence[str] = (),
    text_pair: bool = False,
    reads: str = "",
    facts: Mapping[str, object] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> str:
    """Write the README.md of a saved classifier.

    Parameters
    ----------
    task : str
        Name of the task.
    labels : sequence of str
        In task order.
    method : str
        ``"pet"``, ``"ipet"``, ``"supervised"``, ``"zero-shot"`` or ``"distill"``.
    base_model : str
        The model that it started from. Only the last part of a local path is shown.
    description : str
        What the task is about.
    patterns : sequence of str
        Their sources, for methods that use them.
    text_pair : bool
        Whether the classifier reads two texts.
    reads : str
        The source of the task's input template, where a text has several fields.
    facts : mapping, optional
        What else should be told, name -> value ("labeled examples": 10); None values are left out.
    metrics : mapping, optional
        As `pet.evaluate.evaluate` returns it, from the test set. None or empty: nothing is said of results.

    Returns
    -------
    str
        YAML front matter and Markdown. Neither can be broken out of by a label or another text.
    """
    parts = [
        _front_matter(task, labels, method, base_model),
        f"# {_escape(task)}\n\nA text classifier made with `pet`. {_METHODS.get(method, '')}".rstrip(),
    ]
    if description.strip():
        parts.append(_escape(description))
    parts.append("## Labels\n\n" + "\n".join(f"- {i}: {_escape(label)}" for i, label in enumerate(labels)))
    parts.append(_use(text_pair, reads))
    parts.append(_made(base_model, method, patterns, facts or {}))
    if metrics:
        parts.append(_results(metrics))
    parts.append(
        "## Limits\n\nA few examples and the words of the patterns decide what the labels mean here."
        " Measure the classifier on labeled texts of your own before you rely on it."
    )
    return "\n\n".join(parts) + "\n"


def _front_matter(task: str, labels: Sequence[str], method: str, base_model: str) -> str:
    data: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": "text-classification"}
    if _is_on_hub(base_model):
        data["base_model"] = base_model
    data["tags"] = ["pet", "few-shot", "text-classification"]
    data["pet"] = {"task": task, "method": method, "labels": list(labels)}
    # Quoted where it must be and indented where it has lines, so no label can end the front matter.
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=10**9)
    return f"---\n{text}---"


def _is_on_hub(model: str) -> bool:
    # A folder "models/small" has the shape of a hub name too.
    return _HUB_NAME.fullmatch(model) is not None and not os.path.exists(model)


def _escape(text: object) -> str:
    """Any text as one line of Markdown that shows the same characters and does nothing."""
    line = " ".join(clean(str(text)).split())
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|~$@:])", r"\\\1", html.escape(line, quote=False))


def _use(text_pair: bool, reads: str) -> str:
    given = '{"text": "the first text", "text_pair": "the second"}' if text_pair else '"a text"'
    return (
        "## Use\n\n```python\nfrom transformers import pipeline\n\n"
        'classify = pipeline("text-classification", "path/of/this/folder")\n'
        f"classify({given}, truncation=True)\n```"
        + (f"\n\nIt was trained on texts that are made of their fields so: {_escape(reads)}" if reads else "")
    )


def _made(base_model: str, method: str, patterns: Sequence[str], facts: Mapping[str, object]) -> str:
    shown = base_model if _is_on_hub(base_model) else re.split(r"[\\/]", base_model.rstrip("\\/"))[-1]
    rows = {"base model": shown, "method": method, **facts}
    lines = ["## How it was made", "", "| | |", "|---|---|"]
    lines += [f"| {_escape(name)} | {_escape(value)} |" for name, value in rows.items() if value is not None]
    if patterns:
        lines += ["", "Patterns:", "", *(f"- {_escape(pattern)}" for pattern in patterns)]
    return "\n".join(lines)


def _results(metrics: Mapping[str, Any]) -> str:
    lines = [f"## Results on {metrics['n']} test examples", "", "| figure | value |", "|---|---|"]
    lines += [f"| {name} | {metrics[key]:.3f} |" for key, name in HEADLINE.items() if key in metrics]
    lines += ["", "| label | precision | recall | F1 | support |", "|---|---|---|---|---|"]
    lines += [
        f"| {_escape(label)} | {' | '.join(f'{row[key]:.3f}' for key in _PER_CLASS)} | {row['support']} |"
        for label, row in metrics["per_class"].items()
    ]
    return "\n".join(lines)
