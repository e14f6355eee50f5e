"""How sure a label of a run must be, so that few of those that are kept are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pet.data.checks import column_labels, rows_without, text_keys
from pet.data.label_codes import LabelCodes
from pet.data.label_sets import LabelSets, labels_of
from pet.data.pick import evenly_spaced, pick_rows
from pet.data.read import read_table
from pet.data.reviewed import NONE_OF_THESE
from pet.data.table_options import TableOptions
from pet.ensemble.combine import SoftLabels
from pet.ensemble.selective import Selection, fewest_texts, select
from pet.errors import PetError, TextError
from pet.inference.ensemble import SavedEnsemble, open_ensemble
from pet.inference.exported import ExportedEnsemble
from pet.inference.none_of_these import FitThreshold, NoneOfThese, threshold_of_texts
from pet.inference.options import ComputeOptions
from pet.inference.runtime import prepare_ensemble
from pet.progress import Reporter
from pet.review.finished import FinishedRun, open_finished
from pet.run.load_run import read_settings
from pet.run.settings import RunSettings
from pet.runtimes.engines import TORCH
from pet.task.task import Task

if TYPE_CHECKING:
    from datasets import Dataset

Array = NDArray[Any]
Labeler = SavedEnsemble | ExportedEnsemble
_CHUNK = 32768  # texts whose vectors are in memory at a time
MOST = 5000  # unlabeled texts that are scored again, because the run's own scores are of another engine


def least_confidence(
    folder: str | Path,
    error: float,
    held_out: str | None = None,
    *,
    min_confidence: float = 0.0,
    none_of_these: NoneOfThese | None = None,
    table: TableOptions | None = None,
    compute: ComputeOptions | None = None,
    reporter: Reporter | None = None,
) -> Selection:
    """Return the least confidence of labels to keep; see `pet.ensemble.selective.select`.

    The share that is kept is that of the run's own unlabeled texts. If a text may have several labels, all of them must
    be right, and its confidence is that of the least certain decision. A held-out text that fits no label has the label
    ``none_of_these``, so that it counts as wrong if it is kept; if a text may have several labels, it has none.

    Parameters
    ----------
    folder : directory of a finished run with an ensemble
    error : largest expected share of wrong labels among those that are kept, between 0 and 1
    held_out : labeled texts that the run has not learned from; default: the run's test texts
    min_confidence, none_of_these : other rules that leave texts out, as for `pet.inference.label_file.label_file`; the
        error is that of the labels that all rules keep
    table, compute : how to read and score the texts; the labels must be computed in the same way
    reporter : gets progress, and a line with the result

    Raises
    ------
    PetError
        If there are no held-out texts, too few, or the run learned from them.

    Examples
    --------
    >>> chosen = least_confidence("runs/reviews", 0.9, held_out="checked.jsonl")
    >>> 0 < chosen.kept <= 1
    True
    """
    compute, reporter = compute or ComputeOptions(), reporter or Reporter("quiet")
    asked = open_max_error(
        folder, error, held_out, min_confidence=min_confidence, table=table, compute=compute, reporter=reporter
    )
    if not asked.scores and none_of_these is None:
        return asked.choose(None)
    run, threshold = asked.run, None
    ensemble = open_ensemble(run.folder, **compute.opening)
    if none_of_these is not None:
        threshold = threshold_of_texts(ensemble, run.folder, run.data.train, none_of_these)
    if compute.quantize or compute.runtime:
        prepare_ensemble(ensemble, asked.texts, compute, reporter)
    return asked.choose(ensemble, threshold)


@dataclass(frozen=True)
class MaxError:
    """What ``--max-error`` asks of a run.

    Attributes
    ----------
    run : the run
    error : largest expected share of wrong labels among those that are kept
    texts : held-out labeled texts
    given : whether they are others than the run's test texts
    other : whether labels come from another engine, device or precision than the scores that the run has stored
    min_confidence : of labels to keep
    reporter : gets progress, and a line with the result
    """

    run: FinishedRun
    error: float
    texts: Dataset
    given: bool
    other: bool
    min_confidence: float
    reporter: Reporter

    @property
    def scores(self) -> bool:
        """True if texts have to be scored."""
        return self.given or self.other

    def choose(self, ensemble: Labeler | None, threshold: FitThreshold | None = None) -> Selection:
        """Return the least confidence of labels to keep, and what that means.

        Parameters
        ----------
        ensemble : labels texts with the engine that will label the new ones; may be None if `scores` is false
        threshold : how well the texts of these labels must fit, or None

        Raises
        ------
        PetError
            If no label can be kept.
        """
        run, texts, pool = self.run, self.texts, self.run.texts("pool")
        soft = self._scored(ensemble, texts, "held-out") if self.scores else run.ensemble.combine(run.scores("test"))
        pooled = run.pool
        if self.other:
            pool = evenly_spaced(pool, MOST)
            pooled = self._scored(ensemble, pool, "unlabeled")
        sure, new = self._confidence(soft, texts, threshold), self._confidence(pooled, pool, threshold)
        gold = column_labels(texts)
        right = (soft.applies == (gold > 0)).all(axis=1) if gold.ndim == 2 else soft.label == gold
        chosen = select(sure, right, new, self.error)
        if not chosen.kept:
            raise PetError(_too_few(self.error, sure, right, float((new > -np.inf).mean())))
        self._tell(chosen, len(pool), threshold)
        if threshold is not None and not _foreign(run.task, gold).any():
            _warn(run.task, self.reporter)
        return chosen

    def _scored(self, ensemble: Labeler | None, texts: Dataset, which: str) -> SoftLabels:
        """Return the merged labels of texts."""
        assert ensemble is not None
        try:
            with self.reporter.task(f"score {which} texts", len(texts) * len(ensemble.names), "text") as bar:
                return ensemble.label(texts, bar.update)
        except TextError as error:
            raise error.named(which, texts["id"]) from None

    def _confidence(self, soft: SoftLabels, texts: Dataset, threshold: FitThreshold | None) -> Array:
        """Return the confidence of labels; minus infinity where it is too low, or the text fits no label."""
        kept = soft.confidence >= self.min_confidence
        if threshold is not None:
            with self.reporter.task("measure the fit", len(texts), "text") as bar:
                for start in range(0, len(texts), _CHUNK):
                    part = pick_rows(texts, range(start, min(start + _CHUNK, len(texts))))
                    kept[start : start + len(part)] &= threshold.measure(part) >= threshold.least
                    bar.update(len(part))
        return np.where(kept, soft.confidence, -np.inf)

    def _tell(self, chosen: Selection, scored: int, threshold: FitThreshold | None) -> None:
        fit = "" if threshold is None else f"and a fit of at least {threshold.least:.3f}, "
        total = len(self.run.texts("pool"))
        which = "the run's unlabeled texts" if scored == total else f"{scored} of the run's {total} unlabeled texts"
        if self.other:
            which += ", scored as the new ones"
        self.reporter.info(
            f"--max-error {self.error:g}: keeps labels with a confidence of at least {chosen.confidence:.3f}, {fit}"
            f"{100 * chosen.kept:.0f}% of {which}; of the held-out labels that this keeps, "
            f"{chosen.wrong} {'is' if chosen.wrong == 1 else 'are'} wrong"
        )


def open_max_error(
    folder: str | Path,
    error: float,
    held_out: str | None = None,
    *,
    min_confidence: float = 0.0,
    table: TableOptions | None = None,
    compute: ComputeOptions | None = None,
    reporter: Reporter | None = None,
) -> MaxError:
    """Open the run and the held-out texts of ``--max-error``, without scoring anything; see `least_confidence`.

    Raises
    ------
    PetError
        If there are no held-out texts, or the run learned from them.
    """
    table, compute, reporter = table or TableOptions(), compute or ComputeOptions(), reporter or Reporter("quiet")
    if not 0 < error < 1:
        raise PetError(f"--max-error is {error}; it must be above 0 and below 1")
    run = open_finished(folder, reporter, device=compute.device, allow_pickle=compute.allow_pickle)
    texts = _run_test(run) if held_out is None else _labeled(run, held_out, table)
    other = _is_other(compute, read_settings(run.folder))
    return MaxError(run, error, texts, held_out is not None, other, min_confidence, reporter)


def _is_other(compute: ComputeOptions, stored: RunSettings) -> bool:
    """Return True if labels come from another engine, device or precision than a run's own scores."""
    return (
        compute.quantize
        or compute.runtime not in (None, TORCH)
        or compute.precision not in (None, stored.precision)
        or compute.device not in ("auto", stored.device)
    )


def _run_test(run: FinishedRun) -> Dataset:
    """Return the test texts of a run."""
    if run.data.test is None:
        raise PetError(
            "--max-error requires labeled texts that the run has not learned from; it has no test texts, so name some "
            "with --held-out F"
        )
    return run.data.test


def _labeled(run: FinishedRun, source: str, table: TableOptions) -> Dataset:
    """Read a file of labeled texts that the run has not learned from."""
    columns = {**run.task.columns, **run.settings.columns, **table.columns}
    names = run.task.fields
    texts = read_table(
        source, names, labels=_labels(run.task), label_map=run.task.label_map, columns=columns, name="held-out",
        table_format=table.table_format,
    )  # fmt: skip
    if run.data.train is not None:
        fresh = rows_without(text_keys(texts, names), text_keys(run.data.train, names))
        if len(fresh) < len(texts):
            raise PetError(
                f"{source}: the run learned from {len(texts) - len(fresh)} of these texts, so they say nothing about "
                "new ones; leave them out"
            )
    return texts


def _labels(task: Task) -> Sequence[str] | LabelSets:
    """Return the labels that held-out texts may have: those of the task, and one that is always wrong."""
    labels = labels_of(task)
    if isinstance(labels, LabelSets) or LabelCodes(labels, task.label_map).find(NONE_OF_THESE) is not None:
        return labels
    return [*labels, NONE_OF_THESE]


def _foreign(task: Task, gold: Array) -> Array:
    """Return which texts fit no label of the task: bool array of shape (rows,)."""
    return np.asarray(~gold.any(axis=1) if gold.ndim == 2 else gold == len(task.labels))


def _warn(task: Task, reporter: Reporter) -> None:
    """Say what is not guaranteed if no held-out text fits no label."""
    mark = "without a label" if task.multi_label else f"with the label {NONE_OF_THESE}"
    reporter.warn(
        "--max-error: no held-out text is one that fits no label, so the error is that of new texts that fit one; if "
        f"some do not, add such texts to --held-out F, {mark}"
    )


def _too_few(error: float, confidence: Array, right: Array, share: float) -> str:
    """Return why no label can be kept, if other rules leave this share of the unlabeled texts."""
    if not share:
        return (
            f"--max-error {error:g}: --min-confidence and --none-of-these leave out all unlabeled texts of the run; "
            "use smaller values"
        )
    needed = fewest_texts(error * share)
    if len(right) < needed:
        return (
            f"--max-error {error:g}: {len(right)} held-out texts cannot show that; it takes at least {needed}, and "
            "more if some of their labels are wrong. Label more with --held-out F, or allow a larger error"
        )
    wrong = confidence[~right & (confidence > -np.inf)]
    return (
        f"--max-error {error:g}: no confidence is high enough: {len(wrong)} of {len(right)} held-out labels are wrong, "
        f"one with a confidence of {wrong.max(initial=0.0):.3f}. Label more with --held-out F, or allow a larger error"
    )
