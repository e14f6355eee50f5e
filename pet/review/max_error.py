"""How sure a label of a run must be, so that few of those that are kept are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pet.data.checks import column_labels, rows_without, text_keys
from pet.data.label_sets import labels_of
from pet.data.read import read_table
from pet.data.table_options import TableOptions
from pet.ensemble.combine import SoftLabels
from pet.ensemble.selective import Selection, fewest_texts, select
from pet.errors import PetError
from pet.inference.ensemble import open_ensemble
from pet.inference.options import ComputeOptions
from pet.progress import Reporter
from pet.review.finished import FinishedRun, open_finished

Array = NDArray[Any]


def least_confidence(
    folder: str | Path,
    error: float,
    held_out: str | None = None,
    *,
    table: TableOptions | None = None,
    compute: ComputeOptions | None = None,
    reporter: Reporter | None = None,
) -> Selection:
    """Return the least confidence of labels to keep; see `pet.ensemble.selective.select`.

    The share that is kept is that of the run's own unlabeled texts. If a text may have several labels, all of them must
    be right, and its confidence is that of the least certain decision.

    Parameters
    ----------
    folder : directory of a finished run with an ensemble
    error : largest expected share of wrong labels among those that are kept, between 0 and 1
    held_out : labeled texts that the run has not learned from; default: the run's test texts
    table, compute : how to read and score them
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
    table, compute, reporter = table or TableOptions(), compute or ComputeOptions(), reporter or Reporter("quiet")
    if not 0 < error < 1:
        raise PetError(f"--max-error is {error}; it must be above 0 and below 1")
    run = open_finished(folder, reporter, device=compute.device, allow_pickle=compute.allow_pickle)
    soft, gold = _run_test(run) if held_out is None else _labeled(run, held_out, table, compute, reporter)
    right = (soft.applies == (gold > 0)).all(axis=1) if gold.ndim == 2 else soft.label == gold
    chosen = select(soft.confidence, right, run.pool.confidence, error)
    if not chosen.kept:
        raise PetError(_too_few(error, soft.confidence, right))
    reporter.info(
        f"--max-error {error:g}: keeps labels with a confidence of at least {chosen.confidence:.3f}, "
        f"{100 * chosen.kept:.0f}% of the run's unlabeled texts; {chosen.wrong} held-out labels above it are wrong"
    )
    return chosen


def _run_test(run: FinishedRun) -> tuple[SoftLabels, Array]:
    """Return the merged labels of the run's test texts, and the true ones."""
    if run.data.test is None:
        raise PetError(
            "--max-error requires labeled texts that the run has not learned from; it has no test texts, so name some "
            "with --held-out F"
        )
    return run.ensemble.combine(run.scores("test")), column_labels(run.data.test)


def _labeled(
    run: FinishedRun, source: str, table: TableOptions, compute: ComputeOptions, reporter: Reporter
) -> tuple[SoftLabels, Array]:
    """Return the merged labels of a file of labeled texts, and the true ones."""
    columns = {**run.task.columns, **run.settings.columns, **table.columns}
    names = run.task.fields
    texts = read_table(
        source, names, labels=labels_of(run.task), label_map=run.task.label_map, columns=columns, name="held-out",
        table_format=table.table_format,
    )  # fmt: skip
    if run.data.train is not None:
        fresh = rows_without(text_keys(texts, names), text_keys(run.data.train, names))
        if len(fresh) < len(texts):
            raise PetError(
                f"{source}: the run learned from {len(texts) - len(fresh)} of these texts, so they say nothing about "
                "new ones; leave them out"
            )
    ensemble = open_ensemble(run.folder, **compute.opening)
    with reporter.task("score held-out texts", len(texts) * len(ensemble.names), "text") as bar:
        return ensemble.label(texts, bar.update), column_labels(texts)


def _too_few(error: float, confidence: Array, right: Array) -> str:
    """Return why no label can be kept."""
    needed = fewest_texts(error)
    if len(right) < needed:
        return (
            f"--max-error {error:g}: {len(right)} held-out texts cannot show that; it takes at least {needed}, and "
            "more if some of their labels are wrong. Label more with --held-out F, or allow a larger error"
        )
    wrong = confidence[~right]
    return (
        f"--max-error {error:g}: no confidence is high enough: {len(wrong)} of {len(right)} held-out labels are wrong, "
        f"one with a confidence of {wrong.max(initial=0.0):.3f}. Label more with --held-out F, or allow a larger error"
    )
