"""``--quantize``: int8 for a saved ensemble or classifier, and how often the label stays the same."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from pet.backbones.int8 import check_int8, quantize_linears
from pet.compat import has_int8_instructions
from pet.data.pick import pick_rows
from pet.ensemble.combine import SoftLabelSets
from pet.inference.ensemble import SavedEnsemble
from pet.progress import Reporter
from pet.student.classifier import Classifier
from pet.training.device import Accelerator

if TYPE_CHECKING:
    from datasets import Dataset

Array = NDArray[Any]
SAMPLE_ROWS = 256  # texts that are scored with and without int8


def check_processor(device: torch.device, reporter: Reporter) -> None:
    """Refuse a device without int8 support, and warn if int8 may be slow; see `check_int8`."""
    check_int8(device)
    if has_int8_instructions() is False:
        reporter.warn("int8: this CPU has no int8 instructions (VNNI, AMX); --quantize may make it slower")


def first_chunk(chunks: Iterator[Dataset]) -> tuple[Dataset, Iterator[Dataset]]:
    """Return the first chunk, and all chunks, the first one included."""
    first = next(chunks)
    return first, chain((first,), chunks)


def quantize_ensemble(ensemble: SavedEnsemble, chunk: Dataset, reporter: Reporter) -> float | None:
    """Switch an ensemble to int8, and report how many of a chunk's first texts keep their label.

    Returns
    -------
    float or None
        Share of the first 256 texts; None if the chunk is empty.

    Raises
    ------
    PetError
        If the device has no int8 support, or the members share one model.
    """
    check_processor(ensemble.shared.accelerator.device, reporter)
    ensemble.check_quantizable()
    sample = sample_of(chunk)

    before = ensemble_labels(ensemble, sample)
    ensemble.quantize()
    return note_agreement(before, ensemble_labels(ensemble, sample), reporter)


def ensemble_labels(ensemble: SavedEnsemble, table: Dataset) -> Array:
    """Return the label of each text, or whether each label applies."""
    soft = ensemble.label(table)
    return soft.applies if isinstance(soft, SoftLabelSets) else soft.label


def quantize_classifier(
    classifier: Classifier, name: str, chunk: Dataset, accelerator: Accelerator, max_tokens: int, reporter: Reporter
) -> float | None:
    """Switch a classifier to int8; see `quantize_ensemble`."""
    check_processor(accelerator.device, reporter)
    sample = sample_of(chunk)

    before = classifier_labels(classifier, sample, accelerator, max_tokens)
    quantize_linears(classifier.model, name)
    return note_agreement(before, classifier_labels(classifier, sample, accelerator, max_tokens), reporter)


def classifier_labels(classifier: Classifier, table: Dataset, accelerator: Accelerator, max_tokens: int) -> Array:
    """Return the label of each text, or whether each label applies."""
    return classifier.decisions(classifier.scores(table, accelerator, max_tokens=max_tokens))


def sample_of(chunk: Dataset) -> Dataset:
    """Return the first texts of a chunk, which are scored in two ways and compared."""
    return pick_rows(chunk, range(min(SAMPLE_ROWS, len(chunk))))


def note_agreement(before: Array, after: Array, reporter: Reporter, how: str = "int8") -> float | None:
    """Report and return the share of texts that keep their label; None without texts."""
    if not len(before):
        return None
    equal = before == after
    same = int(np.count_nonzero(equal if equal.ndim == 1 else equal.all(axis=1)))
    share = same / len(before)
    reporter.info(f"{how}: {same} of the first {len(before)} texts keep their label ({100 * share:.1f}%)")
    return share
