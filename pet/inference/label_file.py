"""Soft labels for new texts, made by the ensemble of a finished run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pet.data.read import iter_table
from pet.ensemble.soft_labels import SoftLabels, make_soft_labels, writing_soft_labels
from pet.errors import PetError
from pet.inference.ensemble import SavedEnsemble, open_ensemble
from pet.inference.quantize import check_processor, quantize_ensemble
from pet.progress import Progress, Reporter
from pet.store.outputs import check_output
from pet.training.device import make_accelerator

if TYPE_CHECKING:
    from collections.abc import Callable

    from accelerate import Accelerator
    from datasets import Dataset

CHUNK_ROWS = 32768


@dataclass(frozen=True)
class Labeled:
    """How many texts were labeled, and how many of them were sure enough to be written.

    With int8, `agreement` is the share of the first texts that have the same label without it.
    """

    texts: int
    kept: int
    per_label: Mapping[str, int]
    agreement: float | None = None


def label_file(
    run: str | Path,
    source: str,
    output: str | Path,
    *,
    min_confidence: float = 0.0,
    columns: Mapping[str, str] | None = None,
    device: str = "auto",
    precision: str | None = None,
    allow_pickle: bool | None = None,
    quantize: bool = False,
    reporter: Reporter | None = None,
    chunk_rows: int = CHUNK_ROWS,
) -> Labeled:
    """Label texts of any number with a run's last generation, in constant memory.

    Parameters
    ----------
    run : folder of a finished run; one of ``--method zero-shot`` labels with the pretrained model
    source : the texts, as `pet.data.read.read_table` takes them
    output : a .parquet or .jsonl file, replaced in whole when all is done
    min_confidence : texts whose best label is less probable are left out
    columns : field (or ``id``) -> column; what is not named is as in the run
    device, precision : see `pet.training.device.make_accelerator`; precision None: as in the run
    allow_pickle : also open a pretrained model's pickled weights; None: as the run did
    quantize : compute in int8, on a processor; the first 256 texts are also scored without it and compared
    reporter : is told how far the work is
    chunk_rows : texts that are in memory at a time

    Returns
    -------
    Labeled

    Raises
    ------
    PetError
        For every mistake of the user's, before anything is scored.
    """
    reporter = reporter or Reporter("quiet")
    check_confidence(min_confidence)
    place = check_output(output, (".parquet", ".jsonl"), source)
    ensemble = open_ensemble(run, allow_pickle=allow_pickle)
    mapping = text_columns(ensemble, columns)
    chunks = iter_table(source, ensemble.task.fields, columns=mapping, name="input", chunk_rows=chunk_rows)
    accelerator = make_accelerator(device, precision or ensemble.precision)
    if quantize:
        check_processor(accelerator.device, reporter)
        ensemble.check_quantizable()
    labels = ensemble.task.labels
    counts = np.zeros(len(labels), dtype=np.int64)
    texts, agreement = 0, None
    with (
        writing_soft_labels(place, labels, ensemble.names) as append,
        reporter.task(f"label with {len(ensemble.names)} members", None, "text") as bar,
    ):
        for chunk in chunks:
            if quantize and not ensemble.quantized:
                agreement = quantize_ensemble(ensemble, chunk, accelerator, reporter)
            ids, soft = label_chunk(ensemble, chunk, accelerator, min_confidence, Shares(bar, len(ensemble.names)))
            if ids:
                append(ids, soft)
            texts += len(chunk)
            counts += np.bincount(soft.label, minlength=len(labels)) if ids else 0
    per_label = {label: int(n) for label, n in zip(labels, counts, strict=True)}
    return Labeled(texts, int(counts.sum()), per_label, agreement)


def check_confidence(least: float) -> None:
    """Refuse a confidence that is none."""
    if not 0 <= least <= 1:
        raise PetError(f"--min-confidence is {least}: it must be from 0 to 1")


def text_columns(ensemble: SavedEnsemble, columns: Mapping[str, str] | None) -> dict[str, str]:
    """Which columns hold the fields: those of the run, unless they are given."""
    mapping = {**ensemble.columns, **(columns or {})}
    mapping.pop("label", None)
    return mapping


def label_chunk(
    ensemble: SavedEnsemble,
    chunk: Dataset,
    accelerator: Accelerator,
    min_confidence: float,
    on_rows: Callable[[int], object] = lambda n: None,
) -> tuple[list[str], SoftLabels]:
    """Ids and soft labels of the texts of a chunk that are sure enough; `on_rows` is told of each member's rows."""
    scores = ensemble.score(chunk, accelerator, on_rows)
    return _sure(chunk, make_soft_labels(scores, ensemble.weights, ensemble.bias), min_confidence)


class Shares:
    """Counts a text as done when as many scores are as there are members."""

    def __init__(self, bar: Progress, members: int):
        self._bar, self._members, self._left = bar, members, 0

    def __call__(self, scores: int) -> None:
        done, self._left = divmod(self._left + scores, self._members)
        self._bar.update(done)


def _sure(chunk: Dataset, soft: SoftLabels, min_confidence: float) -> tuple[list[str], SoftLabels]:
    ids: list[str] = list(chunk["id"])
    if min_confidence <= 0:
        return ids, soft
    rows = np.flatnonzero(soft.confidence >= min_confidence)
    return [ids[i] for i in rows], SoftLabels(soft.probabilities[rows], soft.votes[rows])
