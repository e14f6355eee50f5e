"""Read Arrow files and streams (`.arrow`, `.feather`), which may come from anywhere, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

_OLD_FEATHER = b"FEA1"


@contextmanager
def _opened(path: Path) -> Iterator[pa.RecordBatchReader | pa.ipc.RecordBatchFileReader]:
    with pa.memory_map(str(path)) as file:
        start = file.read(len(_OLD_FEATHER))
        file.seek(0)
        if start == _OLD_FEATHER:
            raise pa.ArrowInvalid("it is Feather version 1")
        is_file = start == b"ARRO"
        with pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file) as reader:
            yield reader


def read_ipc_schema(path: Path) -> pa.Schema:
    """Return the schema of an Arrow file; an `ArrowException` or `OSError` if it is none."""
    with _opened(path) as reader:
        return reader.schema


def ipc_batches(path: Path, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """Yield batches of at most `rows` rows with some columns of an Arrow file.

    Arrow trusts the offsets inside such files, so they are checked first: wrong ones would crash the process.

    Raises
    ------
    pa.ArrowException, OSError
        If the file is broken.
    """
    with _opened(path) as reader:
        batches = (
            map(reader.get_batch, range(reader.num_record_batches))
            if isinstance(reader, pa.ipc.RecordBatchFileReader)
            else iter(reader)
        )
        for batch in batches:
            picked = pa.RecordBatch.from_arrays([batch.column(name) for name in columns], names=list(columns))
            picked.validate(full=True)
            for start in range(0, picked.num_rows, rows):
                yield picked.slice(start, rows)
