"""Write suggestions: as a table to fill in, or as records of annotation tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pet.data.reviewed import Decision
from pet.review.suggest import Suggestion, columns_beside
from pet.store.files import write_atomically
from pet.store.outputs import check_output
from pet.store.tables import TABLE_ENDINGS, OutputColumn, writing_table
from pet.task.task import Task

Record = dict[str, Any]
AGENT = "pet"


def write_suggestions(
    task: Task,
    suggestions: Sequence[Suggestion],
    output: str | Path,
    tool: str | None = None,
    *,
    reviewed: Mapping[str, Decision] | None = None,
    force: bool = False,
) -> Path:
    """Write suggestions to a file; return its path.

    Parameters
    ----------
    task : the task
    suggestions : what to write
    output : .csv, .tsv, .jsonl or .parquet with an empty column ``label``; .json for an annotation tool
    tool : one of `TOOLS`; default: a table
    reviewed : id -> decision to fill in; the table then also has the columns ``verdict`` and ``note``; see
        `pet.review.suggest.columns_beside`
    force : replace a file that exists

    Raises
    ------
    PetError
        If the ending does not fit, or the file exists.
    """
    if tool is not None:
        place = check_output(output, (".json",), force=force)
        records = [TOOLS[tool](task, suggestion) for suggestion in suggestions]
        write_atomically(place, json.dumps(records, ensure_ascii=False, indent=1) + "\n")
        return place
    place = check_output(output, TABLE_ENDINGS, force=force)
    text, number = pa.string(), pa.float64()
    beside = {"proposed": text} if reviewed is None else {"verdict": text, "note": text, "proposed": text}
    beside |= {"probability": number, "doubt": number, "nearest_label": text, "nearest_text": text}
    names = columns_beside(task.fields, beside)
    kinds = {"id": text, **dict.fromkeys(task.fields, text), "label": text}
    kinds |= {names[name]: kind for name, kind in beside.items()}
    columns = [OutputColumn(name, kind) for name, kind in kinds.items()]
    with writing_table(place, columns, as_is=None) as table:
        known = reviewed or {}
        rows = [_filled_in(known.get(one.id), task.label_separator, names) | one.row() for one in suggestions]
        table.write({name: [row[name] for row in rows] for name in kinds})
    return place


def _filled_in(decision: Decision | None, separator: str, names: Mapping[str, str]) -> Record:
    """Return the cells of a decision; `names` are those of its columns."""
    said = ("", "", "") if decision is None else (separator.join(decision.labels), decision.verdict, decision.note)
    return {names.get(name, name): cell for name, cell in zip(("label", "verdict", "note"), said, strict=True)}


def as_json(suggestion: Suggestion) -> Record:
    """Return a suggestion in plain values."""
    label, values = suggestion.nearest or (None, None)
    return {
        "id": suggestion.id,
        "fields": dict(suggestion.values),
        "proposed": suggestion.proposed if suggestion.labels is None else list(suggestion.labels),
        "probabilities": dict(suggestion.probabilities),
        "votes": dict(suggestion.votes),
        "doubt": suggestion.doubt,
        "nearest": None if values is None else {"label": label, "fields": dict(values)},
    }


def label_studio_task(name: str, values: Mapping[str, str], proposed: Sequence[str], score: float) -> Record:
    """Return a task of Label Studio with a prediction, for a project whose `Choices` are named ``label``.

    The control tag reads the first field (``toName``), as in ``<Text name="body" value="$body"/>``.
    """
    choice = {
        "from_name": "label",
        "to_name": next(iter(values)),
        "type": "choices",
        "value": {"choices": list(proposed)},
    }
    prediction = {"model_version": AGENT, "score": score, "result": [choice]}
    return {"data": {"id": name, **values}, "predictions": [prediction]}


def argilla_record(
    name: str, values: Mapping[str, str], proposed: Any, score: Any, metadata: Mapping[str, float]
) -> Record:
    """Return a record of Argilla 2, for a data set with these fields and a `LabelQuestion` named ``label``.

    If a text may have several labels, `proposed` and `score` are lists, for a `MultiLabelQuestion`.
    """
    proposal = {"value": proposed, "score": score, "agent": AGENT}
    return {"id": name, "fields": dict(values), "metadata": dict(metadata), "suggestions": {"label": proposal}}


def _label_studio(task: Task, suggestion: Suggestion) -> Record:
    values = {name: suggestion.values[name] for name in task.fields}
    proposed = [suggestion.proposed] if suggestion.labels is None else suggestion.labels
    return label_studio_task(suggestion.id, values, proposed, suggestion.probability)


def _argilla(task: Task, suggestion: Suggestion) -> Record:
    doubt = {"doubt": suggestion.doubt}
    proposed: Any = suggestion.proposed
    score: Any = suggestion.probability
    if suggestion.labels is not None:
        proposed, score = list(suggestion.labels), [suggestion.probabilities[label] for label in suggestion.labels]
    return argilla_record(suggestion.id, suggestion.values, proposed, score, doubt)


TOOLS: Mapping[str, Callable[[Task, Suggestion], Record]] = {"label-studio": _label_studio, "argilla": _argilla}
