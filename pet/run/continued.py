"""The method ``pcp``: pseudo-labels, continued pretraining on filled patterns, and members trained from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pet.ensemble.pseudo_labels import label_positions
from pet.members.continued import PseudoLabeled, continue_pretraining
from pet.run.context import RunContext
from pet.run.execution.work import MemberWork
from pet.run.stages import trained_members
from pet.seeds import derive_seed
from pet.store.files import hash_inputs

STAGE = "g1/pretrained"


def make_pretrained(context: RunContext, labels_stage: str) -> str:
    """Continue pretraining on the pool with the labels of the first generation; return the name of the stage."""

    def build(folder: Path) -> dict[str, Any]:
        path = context.directory.path / f"{labels_stage}.parquet"
        labels = label_positions(pq.read_table(path, columns=["label"])["label"], context.task.labels)
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


def continued_work(context: RunContext) -> list[MemberWork]:
    """Return the work on the members that start from the continued model."""
    upstream = hash_inputs({STAGE: context.directory.fingerprint(STAGE)})
    return [MemberWork(member, start=STAGE, upstream=upstream) for member in trained_members(context, 1)]
