"""Vectors of a run's texts: computed once for each encoder, and kept in the run directory."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.members import embeddings
from pet.members.spec import MemberSpec
from pet.run.context import PARTS, RunContext
from pet.store.folders import reserve

Array = NDArray[Any]


def keep_vectors(context: RunContext) -> None:
    """Embed all texts with the encoder of each `embeddings` member, as stages; workers and resumed runs map the files.

    Parameters
    ----------
    context : the run; this process must hold its directory
    """
    for spec in context.specs:
        if spec.kind == embeddings.KIND:
            for part in PARTS:
                if context.has(part):
                    _keep(context, spec, part)
    context.shared.models.forget()  # members may be trained in other processes


def open_vectors(context: RunContext) -> None:
    """Map the vectors that the main process has kept, in a worker."""
    for spec in context.specs:
        for part in PARTS if spec.kind == embeddings.KIND else ():
            path = context.directory.path / _stage(spec, part) / embeddings.VECTORS
            if context.has(part) and path.is_file():
                context.texts(part).vectors[embeddings.encoder_of(spec)] = np.load(path, mmap_mode="r")


def _stage(spec: MemberSpec, part: str) -> str:
    return f"vectors/{spec.name}/{part}"


def _keep(context: RunContext, spec: MemberSpec, part: str) -> None:
    texts, model = context.texts(part), embeddings.encoder_of(spec)

    def build(folder: Path) -> None:
        with context.reporter.task(f"embed {part} with {spec.name}", len(texts), "text") as bar:
            out = context.shared.embed(texts, model, partial(_new_array, folder, len(texts)), bar.update)
        getattr(out, "flush", lambda: None)()

    folder = context.directory.stage(_stage(spec, part), {"config": context.config_hash}, build)
    texts.vectors[model] = np.load(folder / embeddings.VECTORS, mmap_mode="r")


def _new_array(folder: Path, rows: int, columns: int) -> Array:
    file = folder / embeddings.VECTORS
    out = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(rows, columns))
    reserve(file)
    return out
