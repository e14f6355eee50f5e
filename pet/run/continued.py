"""The method ``pcp``: pseudo-labels, continued pretraining on filled patterns, and members trained from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pet.ensemble.pseudo_labels import most_probable
from pet.members.continued import PseudoLabeled, continue_pretraining
from pet.run.context import RunContext
from pet.run.execution.work import MemberWork
from pet.run.stages import trained_members
from pet.seeds import derive_seed
from pet.store.files import hash_inputs
from pet.task.task import Task

Array = NDArray[Any]
STAGE = "g1/pretrained"


def make_pretrained(context: RunContext, labels_stage: str) -> str:
    """Continue pretraining on the pool with the labels of the first generation; return the name of the stage."""

    def build(folder: Path) -> dict[str, Any]:
        path = context.directory.path / f"{labels_stage}.parquet"
        labels = _labels_in(path, context.task)
        pool = context.texts("pool")
        pool.prepare()
        seed = derive_seed(context.settings.seed, "pcp")
        with context.reporter.task("continue pretraining", context.recipe.continued.steps) as bar:
            losses = continue_pretraining(
                context.shared, PseudoLabeled(pool.tokens, labels), seed, folder, lambda _, loss: bar.update(loss=loss)
            )
        return {"losses": losses}

    inputs = {"config": context.config_hash, "labels": context.directory.fingerprint(labels_stage)}
    context.directory.stage(STAGE, inputs, build)
    return STAGE


def _labels_in(path: Path, task: Task) -> Array:
    """Return the labels in a file of soft labels; see `PseudoLabeled`."""
    if not task.multi_label:
        return most_probable(path, task.labels)
    sets = pq.read_table(path, columns=["labels"])["labels"].to_pylist()
    return np.array([[label in own for label in task.labels] for own in sets], dtype=bool)


def continued_work(context: RunContext) -> list[MemberWork]:
    """Return the work on the members that start from the continued model."""
    upstream = hash_inputs({STAGE: context.directory.fingerprint(STAGE)})
    return [MemberWork(member, start=STAGE, upstream=upstream) for member in trained_members(context, 1)]
