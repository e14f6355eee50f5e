"""Evaluate a saved classifier on labeled texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.data.checks import column_labels
from pet.data.label_sets import LabelSets
from pet.data.read import Chunks, iter_table
from pet.data.table_options import TableOptions
from pet.embeddings.fit import fit_figures
from pet.evaluate import evaluate
from pet.evaluate_sets import evaluate_sets
from pet.groups import Groups, groups_of
from pet.inference.classifier import SavedClassifier, classify_chunks, open_classifier, reading_as
from pet.inference.none_of_these import fit_of_classifier
from pet.inference.options import ComputeOptions
from pet.levels import level_metrics
from pet.ordered import ordered_metrics
from pet.progress import Reporter
from pet.student.classifier import Classifier
from pet.task.group import Group
from pet.task.task import Task


def evaluate_file(
    model: str,
    source: str,
    *,
    task: Task | None = None,
    label_map: Mapping[str, str] | None = None,
    none_of_these: float | None = None,
    table: TableOptions | None = None,
    compute: ComputeOptions | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Compute the metrics of a classifier on labeled texts.

    Parameters
    ----------
    model : a student, a run, or any ``transformers`` sequence classifier (which reads a field ``text``)
    source : the texts with their labels, as for `pet.data.read.read_table`
    task : for its columns, label map and groups; default: the task of the classifier's run
    label_map : text in the data -> label of the classifier; default: as in the classifier's run
    none_of_these : add ``none_of_these``: `pet.embeddings.fit.fit_figures` of the texts, with the threshold that this
        share of the run's labeled texts are below
    table, compute : how to read and compute; columns that are not named are those of the run
    reporter : shows progress

    Returns
    -------
    dict
        As `pet.evaluate.evaluate` returns it, or `pet.evaluate_sets.evaluate_sets` for a multi-label classifier.

    Raises
    ------
    PetError
        For every mistake in the input or the options, such as labels that the classifier does not know.

    Examples
    --------
    >>> metrics = evaluate_file("runs/reviews", "test.jsonl")
    >>> metrics["n"], 0 <= metrics["accuracy"] <= 1
    (12, True)
    """
    table, compute = table or TableOptions(), compute or ComputeOptions()
    saved = open_classifier(model, compute, independent=True)
    if task is not None:
        saved = reading_as(saved, task)
    classifier, group = saved.classifier, _group_of(saved)
    chunks = _read(saved, source, label_map, table)
    reporter = reporter or Reporter("quiet")
    threshold = None if none_of_these is None else fit_of_classifier(model, none_of_these, compute, reporter)
    probabilities, gold, texts, fits = [], [], [], []
    for chunk, found in classify_chunks(classifier, model, chunks, compute, "evaluate", reporter):
        gold.append(column_labels(chunk))
        probabilities.append(found)
        fits += [] if threshold is None else [threshold.measure(chunk)]
        texts += [] if group is None else [chunk]
    merged, right = map(np.concatenate, (probabilities, gold))
    figures = _figures(saved, merged, right, groups_of(group, classifier.labels, texts))
    if threshold is not None:
        correct = _is_right(classifier, merged, right)
        figures["none_of_these"] = fit_figures(np.concatenate(fits), threshold.least, correct)
    return figures


def _figures(
    saved: SavedClassifier, probabilities: NDArray[Any], gold: NDArray[Any], groups: Groups | None
) -> dict[str, Any]:
    """Return the figures that suit the task."""
    classifier = saved.classifier
    if classifier.independent:
        return evaluate_sets(probabilities, gold, classifier.labels, classifier.threshold)
    figures = evaluate(probabilities, gold, classifier.labels, groups)
    return figures | _special(saved, probabilities, gold, figures)


def _is_right(classifier: Classifier, probabilities: NDArray[Any], gold: NDArray[Any]) -> NDArray[Any]:
    """Return whether each text has the right label, or all the right labels: bool array of shape (rows,)."""
    if classifier.independent:
        return np.asarray(((probabilities >= classifier.threshold) == gold).all(axis=1))
    return np.asarray(probabilities.argmax(axis=1) == gold)


def _read(saved: SavedClassifier, source: str, label_map: Mapping[str, str] | None, table: TableOptions) -> Chunks:
    """Read labeled texts in chunks."""
    classifier = saved.classifier
    known = _known_names(saved, label_map)
    names = (*classifier.text_input.fields, "label", "id")
    return iter_table(
        source,
        classifier.text_input.fields,
        labels=LabelSets(classifier.labels, known, saved.separator) if classifier.independent else classifier.labels,
        label_map=known,
        columns={**{key: column for key, column in saved.columns.items() if key in names}, **table.columns},
        **table.reading,
    )


def _special(
    saved: SavedClassifier, probabilities: NDArray[Any], gold: NDArray[Any], figures: dict[str, Any]
) -> dict[str, Any]:
    """Return the figures that only tasks with an order or a hierarchy have."""
    found: dict[str, Any] = ordered_metrics(figures["confusion"]) if saved.ordered else {}
    if saved.ancestors:
        found["levels"] = level_metrics(probabilities, gold, saved.classifier.labels, saved.ancestors)
    return found


def _known_names(saved: SavedClassifier, label_map: Mapping[str, str] | None) -> dict[str, str]:
    """Return text in the data -> label of the classifier."""
    given = saved.label_map if label_map is None else label_map
    return {text: label for text, label in given.items() if label in saved.classifier.labels}


def _group_of(saved: SavedClassifier) -> Group | None:
    """Return the group of the texts, if the classifier has its fields and label."""
    group, classifier = saved.group, saved.classifier
    if group is None or group.right not in classifier.labels:
        return None
    wanted = {*group.by, *([group.text] if group.text else [])}
    return group if wanted <= set(classifier.text_input.fields) else None
