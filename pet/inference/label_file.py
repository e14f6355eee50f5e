"""Label texts with the ensemble of a finished run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from pet.data.kept import keep_columns
from pet.data.read import iter_table
from pet.data.source_names import text_columns
from pet.data.table_options import TableOptions
from pet.ensemble.combine import SoftLabels, SoftLabelSets
from pet.ensemble.soft_labels import soft_label_columns, writing_soft_labels
from pet.errors import PetError, TextError
from pet.inference.ensemble import SavedEnsemble, open_ensemble
from pet.inference.exported import ExportedEnsemble, open_exported
from pet.inference.none_of_these import FIT, FitThreshold, NoneOfThese, fit_threshold
from pet.inference.options import ComputeOptions, check_confidence
from pet.inference.place import check_destination, is_exported_ensemble
from pet.inference.quantize import first_chunk
from pet.inference.runtime import Prepared, prepare_ensemble
from pet.progress import Progress, Reporter
from pet.resources import expand
from pet.store.tables import OutputColumn, Values, needs_types
from pet.terminal import counted

if TYPE_CHECKING:
    from datasets import Dataset
    from numpy.typing import NDArray

LeastConfidence = Callable[[SavedEnsemble | ExportedEnsemble, FitThreshold | None], float]


@dataclass(frozen=True)
class Labeled:
    """Counts of labeled texts.

    Attributes
    ----------
    texts : int
        Texts in the input.
    kept : int
        Texts that were confident enough to be written.
    per_label : mapping of str to int
        Written texts of each label.
    agreement : float or None
        With int8 or an engine other than torch: the share of the first 256 texts that have the label of torch.
    none_of_these : int or None
        Texts that were left out because they fit no label.
    threshold : pet.inference.none_of_these.FitThreshold or None
        How well texts must fit, and what that means for the labeled texts.
    engine : str or None
        What computed, such as ``openvino 2026.4.1, bf16``, if a runtime was chosen.
    """

    texts: int
    kept: int
    per_label: Mapping[str, int]
    agreement: float | None = None
    none_of_these: int | None = None
    threshold: FitThreshold | None = None
    engine: str | None = None


def label_file(
    run: str | Path,
    source: str,
    output: str | Path | IO[str],
    *,
    min_confidence: float | LeastConfidence = 0.0,
    none_of_these: NoneOfThese | None = None,
    table: TableOptions | None = None,
    compute: ComputeOptions | None = None,
    reporter: Reporter | None = None,
) -> Labeled:
    """Label any number of texts with a run's last generation, in constant memory.

    Parameters
    ----------
    run : folder of a finished run (zero-shot: the pretrained model labels), or of `pet export --ensemble`
    source : the texts, as for `pet.data.read.read_table`
    output : a .parquet, .jsonl, .csv or .tsv file, which appears when all is labeled; or a stream, for JSON lines
    min_confidence : leave out texts whose best label is less probable than this; if texts may have several labels,
        those of which any label is less certain. Or what returns it, given the ensemble and the threshold of the fit
    none_of_these : also leave out texts that fit no label, and write the column ``fit``
    table, compute, reporter : how to read, write, compute and report; columns that are not named are those of the run

    Returns
    -------
    Labeled

    Raises
    ------
    PetError
        For every mistake in the input or the options, before anything is scored.

    Examples
    --------
    >>> labeled = label_file("runs/reviews", "pool.jsonl", "labels.parquet")
    >>> labeled.texts, sum(labeled.per_label.values())
    (32, 32)
    """
    table, compute, reporter = table or TableOptions(), compute or ComputeOptions(), reporter or Reporter("quiet")
    choose = _choice(min_confidence)
    place = check_destination(output, source, table)
    ensemble = _opened(expand(run), compute)
    labels, members, several = ensemble.task.labels, ensemble.names, ensemble.ensemble.independent
    mapping = text_columns(source, {**ensemble.columns, **table.columns})
    fits = [] if none_of_these is None else [FIT]
    kept = keep_columns(source, table, mapping, [*_columns(ensemble), *fits], typed=needs_types(place))
    threshold = None if none_of_these is None else _threshold(ensemble, expand(run), none_of_these, reporter)
    read = iter_table(source, ensemble.task.fields, columns=mapping, **table.reading)
    prepared, chunks = _prepared(ensemble, iter(read), compute, reporter)
    least = choose(ensemble, threshold)
    columns, done = [*fits, *kept.columns], _Done(np.zeros(len(labels), dtype=np.int64))
    with (
        writing_soft_labels(place, labels, members, columns, as_is=table.as_is, independent=several) as append,
        reporter.task(f"label with {counted(len(members), 'member')}", read.rows, "text") as bar,
    ):
        for chunk in chunks:
            rows, soft = label_chunk(ensemble, chunk, least, Shares(bar, len(members)))
            rows, soft, values = done.note(threshold, chunk, rows, soft)
            append(ids_of(chunk, rows), soft, {**values, **kept.take(len(chunk), rows)})
    return done.labeled(labels, prepared, threshold)


def _choice(least: float | LeastConfidence) -> LeastConfidence:
    """Return what gives the least confidence, which was given or is to be chosen."""
    if callable(least):
        return least
    check_confidence(least)
    return lambda ensemble, threshold: least


def _threshold(
    ensemble: SavedEnsemble | ExportedEnsemble, run: Path, asked: NoneOfThese, reporter: Reporter
) -> FitThreshold:
    if isinstance(ensemble, ExportedEnsemble):
        raise PetError(f"{run}: --none-of-these requires the labeled texts of the run; name the run instead")
    return fit_threshold(ensemble, run, asked, reporter)


def _opened(place: Path, compute: ComputeOptions) -> SavedEnsemble | ExportedEnsemble:
    if is_exported_ensemble(place):
        return open_exported(place, compute)
    return open_ensemble(place, **compute.opening)


def _prepared(
    ensemble: SavedEnsemble | ExportedEnsemble, chunks: Iterator[Dataset], compute: ComputeOptions, reporter: Reporter
) -> tuple[Prepared, Iterator[Dataset]]:
    """Let an engine or int8 run an ensemble; return which one and how often it agrees with torch, and all chunks."""
    if isinstance(ensemble, ExportedEnsemble):
        reporter.info(f"runtime: {ensemble.engine}")
        return Prepared(str(ensemble.engine)), chunks
    if not (compute.quantize or compute.runtime):
        return Prepared(), chunks
    first, chunks = first_chunk(chunks)
    return prepare_ensemble(ensemble, first, compute, reporter), chunks


@dataclass
class _Done:
    """Counts of what has been labeled so far."""

    per_label: NDArray[np.int64]
    texts: int = 0
    written: int = 0
    foreign: int = 0

    def note(
        self, threshold: FitThreshold | None, chunk: Dataset, rows: NDArray[np.int64], soft: SoftLabels
    ) -> tuple[NDArray[np.int64], SoftLabels, dict[str, Values]]:
        """Count a chunk; return the rows to write, without texts that fit no label, and their values of `FIT`."""
        values: dict[str, Values] = {}
        if threshold is not None:
            fit = threshold.measure(chunk)
            good = fit[rows] >= threshold.least
            rows, soft = rows[good], soft.take(np.flatnonzero(good))
            values = {FIT.name: fit[rows]}
            self.foreign += int((fit < threshold.least).sum())
        self.per_label += count_soft(soft)
        self.texts, self.written = self.texts + len(chunk), self.written + len(rows)
        return rows, soft, values

    def labeled(self, labels: Sequence[str], prepared: Prepared, threshold: FitThreshold | None) -> Labeled:
        """Return the final counts."""
        per_label = dict(zip(labels, self.per_label.tolist(), strict=True))
        foreign = None if threshold is None else self.foreign
        return Labeled(self.texts, self.written, per_label, prepared.agreement, foreign, threshold, prepared.engine)


def _columns(ensemble: SavedEnsemble | ExportedEnsemble) -> list[OutputColumn]:
    """Return the columns of the soft labels that an ensemble gives."""
    return soft_label_columns(ensemble.task.labels, ensemble.names, independent=ensemble.ensemble.independent)


def count_soft(soft: SoftLabels) -> NDArray[np.int64]:
    """Return the number of texts of each label, shape (L,); a text may have several if labels are independent."""
    if isinstance(soft, SoftLabelSets):
        return np.asarray(soft.applies.sum(axis=0), dtype=np.int64)
    return np.bincount(soft.label, minlength=soft.probabilities.shape[1])


def label_chunk(
    ensemble: SavedEnsemble | ExportedEnsemble,
    chunk: Dataset,
    min_confidence: float,
    on_rows: Callable[[int], object] = lambda n: None,
) -> tuple[NDArray[np.int64], SoftLabels]:
    """Label a chunk, and return the positions of the texts that are confident enough and their soft labels.

    `on_rows` is called with the number of rows that a member has scored.
    """
    try:
        soft = ensemble.label(chunk, on_rows)
    except TextError as error:  # its row in the chunk says nothing about the file
        raise error.named("input", chunk["id"]) from None
    rows = np.flatnonzero(soft.confidence >= min_confidence)
    return rows, soft.take(rows)


def ids_of(chunk: Dataset, rows: NDArray[np.int64]) -> list[str]:
    """Return the ids of some rows of a chunk, given by their positions."""
    ids: list[str] = list(chunk["id"])
    return [ids[i] for i in rows]


class Shares:
    """Counts a text as done when every member has scored it; called with numbers of scored rows."""

    def __init__(self, bar: Progress, members: int):
        self._bar, self._members, self._left = bar, members, 0

    def __call__(self, scores: int) -> None:
        done, self._left = divmod(self._left + scores, self._members)
        self._bar.update(done)
