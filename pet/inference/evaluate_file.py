"""Measuring a saved classifier on labeled texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.data.checks import column_labels
from pet.data.read import iter_table
from pet.evaluate import evaluate
from pet.inference.classifier import open_classifier
from pet.inference.quantize import check_processor, quantize_classifier
from pet.progress import Reporter
from pet.training.device import make_accelerator

Array = NDArray[Any]
CHUNK_ROWS = 32768


def evaluate_file(
    model: str,
    source: str,
    *,
    columns: Mapping[str, str] | None = None,
    label_map: Mapping[str, str] | None = None,
    device: str = "auto",
    precision: str = "fp32",
    allow_pickle: bool = False,
    quantize: bool = False,
    max_tokens: int = 8192,
    reporter: Reporter | None = None,
    chunk_rows: int = CHUNK_ROWS,
) -> dict[str, Any]:
    """Figures of a classifier on labeled texts.

    Parameters
    ----------
    model : a student, a run, or any ``transformers`` sequence classifier (which reads a field ``text``)
    source : the texts with their labels, as `pet.data.read.read_table` takes them
    columns : field (or ``label``, ``id``) -> column; what is not named is as in the classifier's run
    label_map : text in the data -> label of the classifier; None: as in the classifier's run
    device, precision : see `pet.training.device.make_accelerator`; fp32 is what a pipeline has
    allow_pickle : also open pickled weights
    quantize : compute in int8, on a processor; the first 256 texts are also scored without it and compared
    max_tokens : tokens in a batch, padding included
    reporter : is told how far the work is
    chunk_rows : texts that are in memory at a time

    Returns
    -------
    dict
        As of `pet.evaluate.evaluate`.

    Raises
    ------
    PetError
        For every mistake of the user's: labels that the classifier does not know, for instance.
    """
    reporter = reporter or Reporter("quiet")
    saved = open_classifier(model, allow_pickle=allow_pickle)
    classifier = saved.classifier
    known = saved.label_map if label_map is None else label_map
    chunks = iter_table(
        source,
        classifier.text_input.fields,
        labels=list(classifier.labels),
        label_map={text: label for text, label in known.items() if label in classifier.labels},
        columns={**saved.columns, **(columns or {})},
        name="input",
        chunk_rows=chunk_rows,
    )
    accelerator = make_accelerator(device, precision)
    if quantize:
        check_processor(accelerator.device, reporter)
    probabilities: list[Array] = []
    gold: list[Array] = []
    with reporter.task("evaluate", None, "text") as bar:
        for chunk in chunks:
            if quantize and not gold:
                quantize_classifier(classifier, model, chunk, accelerator, max_tokens, reporter)
            gold.append(column_labels(chunk))
            probabilities.append(
                classifier.probabilities(chunk, accelerator, max_tokens=max_tokens, on_rows=bar.update)
            )
    return evaluate(np.concatenate(probabilities), np.concatenate(gold), classifier.labels)
