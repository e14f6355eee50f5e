"""Classify texts with a saved classifier."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pet.data.kept import keep_columns
from pet.data.read import iter_table
from pet.data.source_names import text_columns
from pet.data.table_options import TableOptions
from pet.inference.classifier import classify_chunks, open_classifier
from pet.inference.options import ComputeOptions
from pet.inference.place import check_destination
from pet.progress import Reporter
from pet.store.tables import PROBABILITY_COLUMN, OutputColumn, needs_types, writing_table
from pet.student.classifier import Classifier

if TYPE_CHECKING:
    from datasets import Dataset

    from pet.inference.none_of_these import FitThreshold


def predict_file(
    model: str,
    source: str,
    output: str | Path | IO[str],
    *,
    none_of_these: float | None = None,
    table: TableOptions | None = None,
    compute: ComputeOptions | None = None,
    reporter: Reporter | None = None,
) -> int:
    """Classify any number of texts, in constant memory.

    Parameters
    ----------
    model : a student, a run, or any ``transformers`` sequence classifier (which reads a field ``text``)
    source : the texts, as for `pet.data.read.read_table`
    output : a .jsonl, .csv, .tsv or .parquet file, which appears when all texts are classified; or a stream, which
        receives JSON lines. Each row holds id, label, confidence and the probability of each label. If the labels of
        the classifier do not exclude each other, ``label`` is the most probable one, and ``labels`` all whose
        probability is at least the classifier's threshold: that of the run, or 0.5
    none_of_these : leave out texts that fit no label of the run: those that fit worse than all but this share of its
        labeled texts. Adds the column ``fit``
    table, compute : how to read, write and compute; columns that are not named are those of the run
    reporter : shows progress

    Returns
    -------
    int
        Number of texts, including those that were left out.

    Raises
    ------
    PetError
        For every mistake in the input or the options, before anything is classified.

    Examples
    --------
    >>> predict_file("runs/reviews", "pool.jsonl", "predictions.csv")
    32
    """
    table, compute, reporter = table or TableOptions(), compute or ComputeOptions(), reporter or Reporter("quiet")
    place = check_destination(output, source, table)
    saved = open_classifier(model, compute, independent=True)
    labels, fields = saved.classifier.labels, saved.classifier.text_input.fields
    threshold, more = _threshold(model, none_of_these, compute, reporter)
    columns = [*prediction_columns(labels, independent=saved.classifier.independent), *more]
    mapping = text_columns(source, {**saved.columns, **table.columns})
    kept = keep_columns(source, table, mapping, columns, typed=needs_types(place))
    read = iter_table(source, fields, columns=mapping, **table.reading)
    chunks = read.lean() if threshold is None else read  # the ensemble needs whole data sets
    order = {"labels": json.dumps(list(labels), ensure_ascii=False)}
    total = foreign = 0
    with writing_table(place, [*columns, *kept.columns], order, as_is=table.as_is) as writer:
        for chunk, probabilities in classify_chunks(saved.classifier, model, chunks, compute, "predict", reporter):
            rows, fit = _fitting(threshold, chunk)
            writer.write(_values(saved.classifier, chunk, probabilities, rows) | fit | kept.take(len(chunk), rows))
            total, foreign = total + len(chunk), foreign + len(chunk) - len(rows)
    if threshold is not None:
        reporter.info(threshold.text(foreign, total))
    return total


def _threshold(
    model: str, share: float | None, compute: ComputeOptions, reporter: Reporter
) -> tuple[FitThreshold | None, list[OutputColumn]]:
    """Return how well texts must fit, and the column that says how well they do; nothing if it does not matter."""
    if share is None:
        return None, []
    from pet.inference.none_of_these import FIT, fit_of_classifier  # imports the ensemble and `datasets`

    return fit_of_classifier(model, share, compute, reporter), [FIT]


def _fitting(threshold: FitThreshold | None, chunk: Dataset) -> tuple[NDArray[Any], dict[str, Any]]:
    """Return the rows of a chunk that fit a label, and the column that says how well; all rows without a threshold."""
    if threshold is None:
        return np.arange(len(chunk)), {}
    fit = threshold.measure(chunk)
    rows = np.flatnonzero(fit >= threshold.least)
    return rows, {"fit": fit[rows]}


def _values(classifier: Classifier, chunk: Dataset, probabilities: NDArray[Any], rows: NDArray[Any]) -> dict[str, Any]:
    """Return the columns of some rows of a chunk."""
    names, ids, chosen = np.asarray(classifier.labels, dtype=object), list(chunk["id"]), probabilities[rows]
    values: dict[str, Any] = {
        "id": [ids[row] for row in rows],
        "label": names[chosen.argmax(axis=1)],
        "confidence": chosen.max(axis=1),
        "probabilities": chosen,
    }
    if classifier.independent:
        values["labels"] = [names[row].tolist() for row in chosen >= classifier.threshold]
    return values


def prediction_columns(labels: tuple[str, ...], *, independent: bool = False) -> list[OutputColumn]:
    """Return the columns of a file of predictions, which `pet distill` reads as soft labels.

    Only a classifier with `independent` labels has the column ``labels``.
    """
    several = [OutputColumn("labels", pa.list_(pa.string()))] if independent else []
    return [
        OutputColumn("id", pa.string()),
        OutputColumn("label", pa.string()),
        *several,
        OutputColumn("confidence", pa.float64()),
        OutputColumn("probabilities", pa.float64(), labels, PROBABILITY_COLUMN),
    ]
