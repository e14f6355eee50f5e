"""Model cards: the README.md of a saved classifier."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData

from pet import resources
from pet.report.tables import NAMES, interval
from pet.task.task import Task
from pet.terminal import clean, visible

# OWNER/NAME or NAME as on the Hugging Face Hub. A local path would leak details of someone's machine.
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
# Texts for the widget of the model's page: invented ones, never the user's.
WIDGET = ("It works much better than I expected.", "The meeting has been moved to Thursday.")
_METRIC_TYPES = {"macro_f1": "f1"}  # names of the hub's metrics
_PER_CLASS = ("precision", "recall", "f1")
_METHODS = {
    "pet": "It was distilled from an ensemble of language models, each fine-tuned on a few labeled"
    " examples rewritten as cloze questions (Pattern-Exploiting Training, arXiv 2001.07676).",
    "ipet": "It was distilled from the last of several generations of language models, each fine-tuned on"
    " cloze questions that the previous generation had labeled (iPET, arXiv 2001.07676).",
    "pcp": "It was distilled from an ensemble of language models, which were pretrained further on unlabeled"
    " texts with pseudo-labels before each was fine-tuned on a few labeled cloze questions (arXiv 2305.01711).",
    "zero-shot": "It was distilled from language models that answered cloze questions without"
    " seeing any labeled examples.",
    "supervised": "It was fine-tuned on the labeled examples only, without patterns or unlabeled text.",
    "distill": "It was distilled from soft labels.",
}


@dataclass(frozen=True)
class CardTask:
    """What a model card says about the task.

    Attributes
    ----------
    name : name of the task
    labels : labels in task order
    description : what the task is about
    descriptions : label -> what it means
    patterns : sources of the patterns
    text_pair : True if the classifier reads two texts
    reads : source of the input template, if a text has several fields
    multi_label : True if a text may have any number of labels
    """

    name: str
    labels: Sequence[str]
    description: str = ""
    descriptions: Mapping[str, str] = field(default_factory=dict)
    patterns: Sequence[str] = ()
    text_pair: bool = False
    reads: str = ""
    multi_label: bool = False

    @classmethod
    def of(cls, task: Task) -> CardTask:
        """Summarize a task."""
        return cls(
            name=task.name,
            labels=task.labels,
            description=task.description,
            descriptions=task.descriptions,
            patterns=[pattern.template.source for pattern in task.patterns],
            text_pair=len(task.input.segments) > 1,
            reads=task.input.source if len(task.fields) > 1 else "",
            multi_label=task.multi_label,
        )


def student_card(
    task: CardTask,
    method: str,
    base_model: str,
    *,
    facts: Mapping[str, object] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> str:
    """Write the README.md of a saved classifier.

    Parameters
    ----------
    task : CardTask
    method : str
        ``"pet"``, ``"ipet"``, ``"pcp"``, ``"supervised"``, ``"zero-shot"`` or ``"distill"``. The card of a supervised
        classifier lists no patterns.
    base_model : str
        The pretrained model. Only the last part of a local path is shown.
    facts : mapping, optional
        Additional table rows, name -> value ("labeled examples": 10). None values are omitted.
    metrics : mapping, optional
        Test metrics from `pet.evaluate.evaluate`. If None or empty, the card has no results section.

    Returns
    -------
    str
        YAML front matter and Markdown. Labels and other texts are escaped and cannot break out of either.
    """
    parts = [
        _front_matter(task, method, base_model, metrics or {}),
        f"# {escape(task.name)}\n\nA text classifier trained with `pet`. {_METHODS.get(method, '')}".rstrip(),
    ]
    if task.description.strip():
        parts.append(escape(task.description))
    labels = [f"{label}: {task.descriptions[label]}" if label in task.descriptions else label for label in task.labels]
    parts.append("## Labels\n\n" + "\n".join(f"- {i}: {escape(label)}" for i, label in enumerate(labels)))
    parts.append(_usage(task))
    parts.append(_training(base_model, method, () if method == "supervised" else task.patterns, facts or {}))
    if metrics:
        parts.append(_results(metrics))
    parts.append(
        "## Limitations\n\nA few examples and the label words define what each label means to this classifier."
        " Evaluate it on your own labeled texts before relying on it."
    )
    return "\n\n".join(parts) + "\n"


def _front_matter(task: CardTask, method: str, base_model: str, metrics: Mapping[str, Any]) -> str:
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-classification",
        base_model=base_model if _is_on_hub(base_model) else None,
        tags=["pet", "few-shot", "text-classification"],
        widget=None if task.text_pair else [{"text": text} for text in WIDGET],
        pet={"task": task.name, "method": method, "labels": list(task.labels)},
        model_name=task.name or "classifier",
        eval_results=_eval_results(task, metrics) or None,
    ).to_dict()
    data.pop("model_name", None)
    return front_matter(data)


def _eval_results(task: CardTask, metrics: Mapping[str, Any]) -> list[EvalResult]:
    """Return the test figures for ``model-index``, with their intervals in the names."""
    results = []
    for key in (key for key in NAMES if isinstance(metrics.get(key), (int, float))):
        ends = metrics.get(f"{key}_interval")
        within = "" if ends is None else f", 95% interval {interval(ends)}"
        results.append(
            EvalResult(
                task_type="text-classification",
                dataset_type="private",
                dataset_name=f"{metrics.get('n', '')} test examples of {task.name}".strip(),
                metric_type=_METRIC_TYPES.get(key, key),
                metric_name=f"{NAMES[key]}{within}",
                metric_value=round(float(metrics[key]), 4),
            )
        )
    return results


def front_matter(data: Mapping[str, Any]) -> str:
    """Return metadata as the YAML block that begins a card."""
    data = dict(data)
    # YAML quotes and indents as needed, so no label can end the front matter.
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=10**9)
    if visible(text) != text:  # PyYAML does not escape bidirectional controls
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=False, width=10**9)
    return f"---\n{text}---"


def _is_on_hub(model: str) -> bool:
    # A folder such as "models/small" also looks like a hub name, and so does a model that comes with the package.
    embedded = (resources.folder("models") / model).is_dir()
    return _HUB_NAME.fullmatch(model) is not None and not os.path.exists(model) and not embedded


def escape(text: object) -> str:
    """Escape any text to one line of inert Markdown that renders as the same characters."""
    line = " ".join(clean(str(text)).split())
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|~$@:])", r"\\\1", html.escape(line, quote=False))


def facts_table(facts: Mapping[str, object]) -> str:
    """Return a Markdown table of names and values; None values are omitted."""
    rows = [f"| {escape(name)} | {escape(value)} |" for name, value in facts.items() if value is not None]
    return "\n".join(["| | |", "|---|---|", *rows])


def _usage(task: CardTask) -> str:
    given = '{"text": "the first text", "text_pair": "the second"}' if task.text_pair else '"a text"'
    return (
        "## Usage\n\n```python\nfrom transformers import pipeline\n\n"
        'classify = pipeline("text-classification", "path/to/this/folder")\n'
        f"classify({given}, {'top_k=None, ' if task.multi_label else ''}truncation=True)\n```"
        + ("\n\nA text may have any number of labels; each has a probability of its own." if task.multi_label else "")
        + (f"\n\nInput format, with field names in braces: {escape(task.reads)}" if task.reads else "")
    )


def card_of_export(card: str) -> str:
    """Return the card of a classifier for its files in ONNX, which a pipeline of transformers does not open."""
    made = card.replace("\nlibrary_name: transformers\n", "\nlibrary_name: transformers.js\n", 1)
    usage = "    pet predict path/to/this/folder --input texts.csv -o predictions.csv\n"
    return re.sub(r"```python\n.*?```\n", usage, made, count=1, flags=re.DOTALL)


def _training(base_model: str, method: str, patterns: Sequence[str], facts: Mapping[str, object]) -> str:
    shown = base_model if _is_on_hub(base_model) else re.split(r"[\\/]", base_model.rstrip("\\/"))[-1]
    rows = {"base model": shown, "method": method, **facts}
    lines = ["## Training", "", facts_table(rows)]
    if patterns:
        lines += ["", "Patterns:", "", *(f"- {escape(pattern)}" for pattern in patterns)]
    return "\n".join(lines)


def _results(metrics: Mapping[str, Any]) -> str:
    lines = [f"## Results on {metrics['n']} test examples", "", "| metric | value and 95% interval |", "|---|---|"]
    for key, name in NAMES.items():
        if key in metrics:
            ends = metrics.get(f"{key}_interval")
            lines.append(f"| {name} | {metrics[key]:.3f}{'' if ends is None else f' {escape(interval(ends))}'} |")
    lines += ["", "| label | precision | recall | F1 | support |", "|---|---|---|---|---|"]
    lines += [
        f"| {escape(label)} | {' | '.join(f'{row[key]:.3f}' for key in _PER_CLASS)} | {row['support']} |"
        for label, row in metrics["per_class"].items()
    ]
    return "\n".join(lines)
