"""Compare finished runs on the same test texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.data.checks import text_keys
from pet.data.pick import pick_columns, pick_rows
from pet.errors import PetError
from pet.evaluate import evaluate
from pet.evaluate_sets import evaluate_sets
from pet.resources import expand
from pet.review.tested import TestedRun, open_tested
from pet.statistics import paired
from pet.statistics_sets import paired_sets

Array = NDArray[Any]


def compare_runs(folders: Sequence[str]) -> dict[str, Any]:
    """Compare runs with the first one, text by text.

    Texts are matched by their content, in any order. The runs may differ in everything else: methods, models, labeled
    texts, the order of labels.

    Parameters
    ----------
    folders : two or more run directories

    Returns
    -------
    dict
        - ``runs``: for each run ``run`` (its folder), ``result`` (``student`` or ``ensemble``), ``figures``
          (`pet.evaluate.evaluate`), and for all but the first one ``difference`` (`pet.statistics.paired`, the run
          minus the first one), and the numbers of texts whose label was corrected (``fixed``), spoiled (``broken``) or
          replaced by another wrong one (``moved``)
        - ``n``: number of texts; ``labels``: names
        - ``changed``: the texts with different labels: ``id``, ``fields``, ``gold``, and ``labels`` and
          ``confidences``, one for each run. Those that some runs get right come first

    Raises
    ------
    PetError
        If runs have different labels or test texts, or are not finished.
    """
    if len(folders) < 2:
        raise PetError("name at least two runs to compare")
    places = [expand(folder).resolve() for folder in folders]
    twice = [folder for number, folder in enumerate(folders) if places[number] in places[:number]]
    if twice:
        raise PetError(f"{twice[0]} is named twice; name each run once")
    first, *others = (open_tested(folder) for folder in folders)
    runs = [first, *(_aligned(run, first) for run in others)]
    gold, labels = first.gold, first.task.labels
    predicted = np.stack([run.said for run in runs])
    each: list[dict[str, Any]] = []
    for run, said in zip(runs, predicted, strict=True):
        figures = _figures(run, first)
        about: dict[str, Any] = {"run": run.name, "result": run.result, "figures": figures}
        if run is not first:
            several = first.task.multi_label
            about["difference"] = (
                paired_sets(gold, said, predicted[0]) if several else paired(gold, said, predicted[0], len(labels))
            )
            about |= _moves(gold, predicted[0], said)
        each.append(about)
    return {"runs": each, "n": len(gold), "labels": list(labels), "changed": _changed(runs, predicted)}


def _figures(run: TestedRun, first: TestedRun) -> dict[str, Any]:
    """Return the figures of a run on the test texts of the first one."""
    if first.task.multi_label:
        return evaluate_sets(run.probabilities, first.gold, first.task.labels, run.threshold)
    return evaluate(run.probabilities, first.gold, first.task.labels, first.groups)


def _same(one: Array, other: Array) -> Array:
    """Return for each text whether two labelings agree; if it may have several labels, about all of them."""
    return np.asarray((one == other).all(axis=-1) if one.ndim > 1 and other.ndim > 1 else one == other)


def _moves(gold: Array, before: Array, after: Array) -> dict[str, int]:
    """Count the texts whose label changed."""
    was, now = _same(before, gold), _same(after, gold)
    return {
        "fixed": int((now & ~was).sum()),
        "broken": int((was & ~now).sum()),
        "moved": int((~was & ~now & ~_same(before, after)).sum()),
    }


def _changed(runs: Sequence[TestedRun], predicted: Array) -> list[dict[str, Any]]:
    first, labels = runs[0], runs[0].task.labels
    gold, fields = first.gold, list(first.task.fields)
    confidences = np.stack([_confidence(run) for run in runs])
    differs = ~np.stack([_same(said, predicted[0]) for said in predicted]).all(axis=0)
    decided = np.asarray(np.stack([_same(said, gold) for said in predicted]).any(axis=0))
    rows = np.flatnonzero(differs)
    rows = rows[np.lexsort((-confidences[:, rows].max(axis=0), ~decided[rows]))]
    table = pick_columns(pick_rows(first.table, rows), ["id", *fields])
    return [
        {
            "id": texts["id"],
            "fields": {field: str(texts[field]) for field in fields},
            "gold": _name(gold[row], labels),
            "labels": [_name(label, labels) for label in predicted[:, row]],
            "confidences": [float(value) for value in confidences[:, row]],
        }
        for row, texts in zip(rows.tolist(), table, strict=True)
    ]


def _confidence(run: TestedRun) -> Array:
    """Return how sure a run is of the labels of each text: of several labels, the least certain decision."""
    if run.task.multi_label:
        return np.asarray(np.where(run.said, run.probabilities, 1 - run.probabilities).min(axis=1))
    return np.asarray(run.probabilities.max(axis=1))


def _name(label: Any, labels: Sequence[str]) -> str:
    """Return the name of a label, or the names of several, to be read."""
    if np.ndim(label):
        return ", ".join(name for name, own in zip(labels, label, strict=True) if own) or "no label"
    return labels[label]


# ---- the same texts ----------------------------------------------------------------------------


def _aligned(run: TestedRun, first: TestedRun) -> TestedRun:
    """Return a run with the test texts and the labels in the order of the first run."""
    if run.task.multi_label != first.task.multi_label:
        raise PetError(f"only one of {run.name} and {first.name} may give a text several labels; compare similar runs")
    if set(run.task.labels) != set(first.task.labels):
        only = sorted(set(run.task.labels) ^ set(first.task.labels))
        raise PetError(
            f"{run.name} and {first.name} have different labels ({_some(only)}); compare runs of the same task"
        )
    columns = np.asarray([run.task.labels.index(label) for label in first.task.labels])
    if tuple(run.task.fields) != tuple(first.task.fields):
        raise PetError(
            f"{run.name} reads the fields {', '.join(run.task.fields)}, but {first.name} reads "
            f"{', '.join(first.task.fields)}, so their texts cannot be matched; compare runs of the same task"
        )
    places, wanted = (_places(each) for each in (run, first))
    missing = [row for key, row in wanted.items() if key not in places]
    if missing or len(places) > len(wanted):
        extra = sum(key not in wanted for key in places)
        ids = first.table["id"]
        which = f", such as id {ids[missing[0]]!r}" if missing else ""
        raise PetError(
            f"{run.name} and {first.name} have different test texts: {len(missing)} of {len(wanted)} texts of "
            f"{first.name} are not in {run.name}{which}, and {extra} are only in {run.name}; repeat a run with the "
            "--test of the other one"
        )
    aligned = run.take(np.asarray([places[key] for key in wanted]), columns)
    gold = aligned.gold[:, columns] if run.task.multi_label else columns.argsort()[aligned.gold]
    differs, names = ~_same(gold, first.gold), first.task.labels
    if differs.any():
        row = int(differs.argmax())
        raise PetError(
            f"{run.name} and {first.name} have different labels for the test text with id {first.table[row]['id']!r}: "
            f"{_name(gold[row], names)!r} and {_name(first.gold[row], names)!r}; repeat a run with the --test of the "
            "other one"
        )
    return aligned


def _places(run: TestedRun) -> Mapping[tuple[int, int], int]:
    """Return the row of each text. Equal texts are numbered, by label: they may have different ones."""
    keys, labels = text_keys(run.table, run.task.fields).tolist(), run.task.labels
    has = run.gold if run.task.multi_label else np.eye(len(labels), dtype=bool)[run.gold]
    names = [sorted(name for name, own in zip(labels, row, strict=True) if own) for row in has]  # in no run's order
    # Texts that differ in case or spaces only are equal here, and each run may have them in another order.
    texts = [tuple(map(str, row.values())) for row in pick_columns(run.table, list(run.task.fields))]
    seen: dict[int, int] = {}
    found = {}
    for row in sorted(range(len(keys)), key=lambda row: (names[row], texts[row], row)):
        number = seen[keys[row]] = seen.get(keys[row], -1) + 1
        found[keys[row], number] = row
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")
