"""Evaluate a saved classifier on labeled texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.data.checks import column_labels
from pet.data.read import iter_table
from pet.data.table_options import TableOptions
from pet.evaluate import evaluate
from pet.inference.classifier import classify_chunks, open_classifier
from pet.inference.options import ComputeOptions
from pet.progress import Reporter

Array = NDArray[Any]


def evaluate_file(
    model: str,
    source: str,
    *,
    label_map: Mapping[str, str] | None = None,
    table: TableOptions | None = None,
    compute: ComputeOptions | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Compute the metrics of a classifier on labeled texts.

    Parameters
    ----------
    model : a student, a run, or any ``transformers`` sequence classifier (which reads a field ``text``)
    source : the texts with their labels, as for `pet.data.read.read_table`
    label_map : text in the data -> label of the classifier; default: as in the classifier's run
    table, compute : how to read and compute; columns that are not named are those of the run
    reporter : shows progress

    Returns
    -------
    dict
        As `pet.evaluate.evaluate` returns it.

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
    saved = open_classifier(model, allow_pickle=compute.allow_pickle)
    classifier = saved.classifier
    known = saved.label_map if label_map is None else label_map
    chunks = iter_table(
        source,
        classifier.text_input.fields,
        labels=list(classifier.labels),
        label_map={text: label for text, label in known.items() if label in classifier.labels},
        columns={**saved.columns, **table.columns},
        **table.reading,
    )
    probabilities: list[Array] = []
    gold: list[Array] = []
    for chunk, found in classify_chunks(classifier, model, chunks, compute, "evaluate", reporter or Reporter("quiet")):
        gold.append(column_labels(chunk))
        probabilities.append(found)
    return evaluate(np.concatenate(probabilities), np.concatenate(gold), classifier.labels)
