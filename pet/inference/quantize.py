"""``--quantize``: int8 for a saved ensemble or classifier, and how often it says the same as before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from pet.backbones.int8 import check_int8, quantize_linears
from pet.compat import has_int8_instructions
from pet.ensemble.combine import merge_scores
from pet.inference.ensemble import SavedEnsemble
from pet.progress import Reporter
from pet.student.classifier import Classifier

if TYPE_CHECKING:
    from accelerate import Accelerator
    from datasets import Dataset

Array = NDArray[Any]
SAMPLE_ROWS = 256  # scored both ways


def check_processor(device: torch.device, reporter: Reporter) -> None:
    """Refuse where int8 cannot be, and warn where it may be slow; see `check_int8`."""
    check_int8(device)
    if has_int8_instructions() is False:
        reporter.warn("int8: this processor has no instructions for it (VNNI, AMX); --quantize may make it slower")


def quantize_ensemble(
    ensemble: SavedEnsemble, chunk: Dataset, accelerator: Accelerator, reporter: Reporter
) -> float | None:
    """Turn to int8, and tell how many of the chunk's first texts keep their label.

    Returns
    -------
    float or None
        Share of the first 256 texts, None where there is no text. `ensemble` is changed.
    """
    sample = _sample(chunk)

    def labels() -> Array:
        scores = ensemble.score(sample, accelerator)
        return (merge_scores(scores, ensemble.weights) + ensemble.bias).argmax(axis=1)

    before = labels()
    ensemble.quantize()
    return _agreement(before, labels(), reporter)


def quantize_classifier(
    classifier: Classifier, name: str, chunk: Dataset, accelerator: Accelerator, max_tokens: int, reporter: Reporter
) -> float | None:
    """The same for a classifier, which is changed."""
    sample = _sample(chunk)

    def labels() -> Array:
        return classifier.scores(sample, accelerator, max_tokens=max_tokens).argmax(axis=1)

    before = labels()
    quantize_linears(classifier.model, name)
    return _agreement(before, labels(), reporter)


def _sample(chunk: Dataset) -> Dataset:
    return chunk.select(range(min(SAMPLE_ROWS, len(chunk))))


def _agreement(before: Array, after: Array, reporter: Reporter) -> float | None:
    if not len(before):
        return None
    same = int(np.count_nonzero(before == after))
    share = same / len(before)
    reporter.info(f"int8: {same} of the first {len(before)} texts have the same label as without ({100 * share:.1f} %)")
    return share
