"""How sure a label of a run must be, so that few of those that are kept are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.data.checks import column_labels, rows_without, text_keys
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

    The share that is kept is that of the run's own unlabeled texts.

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
    chosen = select(soft.confidence, soft.label == gold, run.pool.confidence, error)
    if not chosen.kept:
        raise PetError(_too_few(error, soft, gold))
    reporter.info(
        f"--max-error {error:g}: keeps labels with a confidence of at least {chosen.confidence:.3f}, "
        f"{100 * chosen.kept:.0f} % of the run's unlabeled texts; {chosen.wrong} held-out labels above it are wrong"
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
    names, labels = run.task.fields, list(run.task.labels)
    texts = read_table(
        source, names, labels=labels, label_map=run.task.label_map, columns=columns, name="held-out",
        table_format=table.table_format,
    )  # fmt: skip
    if run.data.train is not None:
        fresh = rows_without(text_keys(texts, names), text_keys(run.data.train, names))
        if len(fresh) < len(texts):
            raise PetError(
                f"{source}: the run learned from {len(texts) - len(fresh)} of these texts, so they say nothing about "
                "new ones; leave them out"
            )
    ensemble = open_ensemble(
        run.folder, allow_pickle=compute.allow_pickle, device=compute.device, precision=compute.precision
    )
    with reporter.task("score held-out texts", len(texts) * len(ensemble.names), "text") as bar:
        return ensemble.label(texts, bar.update), column_labels(texts)


def _too_few(error: float, soft: SoftLabels, gold: Array) -> str:
    """Return why no label can be kept."""
    wrong, needed = int((soft.label != gold).sum()), fewest_texts(error)
    if len(gold) < needed:
        return (
            f"--max-error {error:g}: {len(gold)} held-out texts cannot show that; it takes at least {needed}, and more "
            "if some of their labels are wrong. Label more with --held-out F, or allow a larger error"
        )
    surest = float(np.max(soft.confidence[soft.label != gold], initial=0.0))
    return (
        f"--max-error {error:g}: no confidence is high enough: {wrong} of {len(gold)} held-out labels are wrong, one "
        f"with a confidence of {surest:.3f}. Label more with --held-out F, or allow a larger error"
    )
