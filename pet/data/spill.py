"""Store a table in memory or, if it is large, memory-mapped in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pet.data.pick import random_fingerprint
from pet.errors import PetError
from pet.store.temporary import Scratch

if TYPE_CHECKING:
    import datasets

IN_MEMORY = 64 << 20  # bytes

_scratch: list[Scratch] = []


def dataset_of(batches: list[pa.RecordBatch], schema: pa.Schema) -> datasets.Dataset:
    """Return batches as a table in memory."""
    import datasets
    from datasets.table import InMemoryTable

    return datasets.Dataset(InMemoryTable(pa.Table.from_batches(batches, schema)), fingerprint=random_fingerprint())


def batch_of(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    """Return rows of Python values as a batch."""
    columns = zip(zip(*rows, strict=True), schema, strict=True)
    return pa.RecordBatch.from_arrays([pa.array(values, field.type) for values, field in columns], schema=schema)


class SpillingBatches:
    """Batches in memory, which move to an Arrow file when they are larger than `IN_MEMORY`."""

    def __init__(self, schema: pa.Schema, cache_dir: str | os.PathLike[str] | None, name: str):
        self.schema = schema
        self.parent = cache_dir
        self.name = name
        self.batches: list[pa.RecordBatch] = []
        self.size = 0
        self.folder: Scratch | None = None
        self.path = Path()  # of the Arrow file in `folder`
        self.writer: Any = None

    def add(self, batch: pa.RecordBatch) -> None:
        """Add a batch; a `PetError` if the disk is full or read-only."""
        self.batches.append(batch)
        self.size += batch.nbytes
        if self.writer is not None or self.size > IN_MEMORY:
            try:
                self._spill()
            except OSError as error:
                raise self._no_room(error) from None

    def _spill(self) -> None:
        if self.writer is None:
            if self.parent is not None:
                os.makedirs(self.parent, exist_ok=True)
            self.folder = Scratch(self.parent)
            _scratch.append(self.folder)  # until the end: the table is mapped into memory
            self.path = self.folder.path / "table.arrow"
            self.writer = pa.ipc.new_stream(str(self.path), self.schema)
        for batch in self.batches:
            self.writer.write_batch(batch)
        self.batches = []

    def finish(self) -> datasets.Dataset:
        """Return all batches as one table."""
        import datasets

        if self.writer is None:
            return dataset_of(self.batches, self.schema)
        try:
            self.writer.close()
        except OSError as error:
            raise self._no_room(error) from None
        return datasets.Dataset.from_file(str(self.path))

    def clear(self) -> None:
        """Drop all rows and remove the file, if there is one."""
        if self.writer is not None:
            with contextlib.suppress(OSError):  # a full disk again; the file is removed anyway
                self.writer.close()
        if self.folder is not None:
            self.folder.close()
        self.batches, self.size, self.folder, self.writer = [], 0, None, None

    def _no_room(self, error: OSError) -> PetError:
        return no_room(self.name, self.parent or tempfile.gettempdir(), error)


def disk_array(rows: int, kind: type[np.generic], name: str) -> NDArray[Any]:
    """Return an array to fill: in memory, or memory-mapped from an unnamed temporary file if it is large.

    Parameters
    ----------
    rows : its length
    kind : its dtype
    name : what messages call the input
    """
    size = rows * np.dtype(kind).itemsize
    if size <= IN_MEMORY // 4:
        return np.empty(rows, kind)
    try:
        with tempfile.TemporaryFile() as file:  # the map keeps it
            file.truncate(size)
            return np.memmap(file, kind, mode="r+", shape=(rows,))
    except OSError as error:
        raise no_room(name, tempfile.gettempdir(), error) from None


def no_room(name: str, folder: str | os.PathLike[str], error: OSError) -> PetError:
    """Return the error for a temporary folder that is full or read-only."""
    reason = error.strerror or str(error)
    return PetError(
        f"{name}: cannot write temporary files to {os.fspath(folder)} ({reason}); free some space, or set TMPDIR to "
        "another folder"
    )
