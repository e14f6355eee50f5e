"""Read tables of texts, from any source, into one form.

Arrow reads files block by block (`pet.data.fast`). If that fails, or a check over whole columns finds a problem, the
file is read row by row (`pet.data.row_reader`), which names the mistakes or, if there are none, returns the rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pet.data.chunk import Chunk
from pet.data.columns import Layout, lay_out
from pet.data.fast import fast_batches
from pet.data.ids import IdLedger
from pet.data.label_sets import LabelSets, label_reader
from pet.data.open_source import open_source
from pet.data.problems import Problems
from pet.data.read_memory import read_memory
from pet.data.row_reader import walk
from pet.data.source import Source, Unsound, column_names
from pet.data.spill import SpillingBatches, batch_of, dataset_of
from pet.data.table_format import DETECT, TableFormat
from pet.errors import PetError

if TYPE_CHECKING:
    import datasets

CHUNK_BYTES = 64 << 20
WALK_ROWS = 1024


def read_table(
    source: Any,
    fields: Sequence[str],
    *,
    labels: Sequence[str] | LabelSets | None = None,
    label_map: Mapping[str, str] = {},
    columns: Mapping[str, str] = {},
    name: str = "input",
    cache_dir: str | os.PathLike[str] | None = None,
    table_format: TableFormat = DETECT,
) -> datasets.Dataset:
    """Read a whole table. Tables of more than 64 MB are memory-mapped from a temporary file.

    Parameters
    ----------
    source : a file, folder, database or data set, as for `pet.data.open_source.open_source`; or a table in memory: a
        data frame, a data set, an Arrow table, a mapping of columns, or a list of mappings
    fields : the text columns; numbers and booleans become text
    labels : the task's labels in order; if given, the table has a column with their indices. `LabelSets` if a text may
        have several labels
    label_map : text in the data -> label of the task; `LabelSets` have one of their own
    columns : field (or `label`, `id`) -> column of the file; `{"id": ""}` numbers the rows even if there are ids
    name : what messages call this input
    cache_dir : folder for temporary files of large tables; default: that of the system
    table_format : encoding, delimiter and quoting of a text file; default: detect them

    Returns
    -------
    datasets.Dataset
        Columns `id` (string; the row number from 0 if the file has no ids), each field (string) and, with `labels`,
        `label`: int64, or 0 or 1 for each label.

    Raises
    ------
    PetError
        With every mistake: one message for each, with its first lines.

    Examples
    --------
    >>> table = read_table("train.jsonl", ["text"], labels=["bad", "good"])
    >>> table.column_names
    ['id', 'text', 'label']
    >>> table["label"][:4]
    [0, 1, 0, 1]
    """
    if not isinstance(source, (str, os.PathLike)):
        codes = label_reader(labels, label_map)
        return read_memory(source, fields, codes, columns, name)
    opened, layout = prepare(source, fields, labels, label_map, columns, name, table_format)
    return _read_all(opened, layout, cache_dir, name)


def iter_table(
    source: str | os.PathLike[str],
    fields: Sequence[str],
    *,
    labels: Sequence[str] | LabelSets | None = None,
    label_map: Mapping[str, str] = {},
    columns: Mapping[str, str] = {},
    name: str = "input",
    chunk_rows: int = 32768,
    table_format: TableFormat = DETECT,
) -> Chunks:
    """Read a table in chunks, in constant memory.

    The whole input is checked before the first chunk is returned, so that a bad last line does not cost hours of work.
    It is therefore read twice. Parameters and errors are those of `read_table`.

    Parameters
    ----------
    chunk_rows : int
        Maximum rows of a chunk; a chunk of long texts has fewer (about 64 MB).

    Returns
    -------
    Chunks
        Iterator of tables, which knows the number of all rows.
    """
    opened, layout = prepare(source, fields, labels, label_map, columns, name, table_format)
    fast = True
    try:
        rows = sum(batch.num_rows for batch in _checked(fast_batches(opened, layout), layout, name))
    except Unsound:
        fast = False
        rows = sum(batch.num_rows for batch in _walked(opened, layout, name))
    return Chunks(_stream(opened, layout, name, chunk_rows, fast), layout.schema, rows)


class Chunks:
    """The chunks of a table, once, and its number of rows.

    Attributes
    ----------
    rows : int
    """

    def __init__(self, parts: Iterator[list[pa.RecordBatch]], schema: pa.Schema, rows: int, lean: bool = False):
        self.rows = rows
        self._parts, self._schema, self._lean = parts, schema, lean

    def __iter__(self) -> Iterator[datasets.Dataset]:
        return self

    def __next__(self) -> datasets.Dataset:
        batches = next(self._parts)
        if self._lean:
            return Chunk(pa.Table.from_batches(batches, self._schema))
        return dataset_of(batches, self._schema)

    def lean(self) -> Chunks:
        """Return the same chunks as `pet.data.chunk.Chunk`, which needs no ``datasets``."""
        return Chunks(self._parts, self._schema, self.rows, lean=True)


def _read_all(opened: Source, layout: Layout, cache_dir: str | os.PathLike[str] | None, name: str) -> datasets.Dataset:
    store = SpillingBatches(layout.schema, cache_dir, name)
    try:
        try:
            for batch in _checked(fast_batches(opened, layout), layout, name):
                store.add(batch)
        except Unsound:
            store.clear()
            for batch in _walked(opened, layout, name):
                store.add(batch)
        return store.finish()
    except BaseException:
        store.clear()
        raise


def prepare(
    source: str | os.PathLike[str],
    fields: Sequence[str],
    labels: Sequence[str] | LabelSets | None,
    label_map: Mapping[str, str],
    columns: Mapping[str, str],
    name: str,
    table_format: TableFormat = DETECT,
) -> tuple[Source, Layout]:
    """Open a source and find its columns; parameters and errors are those of `read_table`."""
    codes = label_reader(labels, label_map)
    opened = open_source(source, name, table_format, columns)
    header = column_names(opened)
    place = f"{name}: {opened.shown}"
    layout = lay_out(header, fields, codes, columns, place, strict=opened.kind != "json")
    return opened, replace(layout, only=opened.only)


def _checked(batches: Iterator[pa.RecordBatch], layout: Layout, name: str) -> Iterator[pa.RecordBatch]:
    """Yield the same batches; raise `Unsound` at the end if an id appears twice or there were no rows."""
    rows = 0
    with IdLedger(name) as ledger:
        for batch in batches:
            rows += batch.num_rows
            if layout.id_column is not None:
                ledger.add(batch.column("id"))
            yield batch
        if not rows or ledger.duplicates():
            raise Unsound("no rows, or duplicate ids")


def _walked(source: Source, layout: Layout, name: str) -> Iterator[pa.RecordBatch]:
    """Yield the batches of the row-by-row reader; raise a `PetError` at the end if there were mistakes."""
    problems = Problems(source, name)
    rows: list[tuple[Any, ...]] = []
    total = 0
    with IdLedger(name) as ledger:
        for _, values in walk(source, layout, problems):
            rows.append(values)
            if len(rows) == WALK_ROWS:
                yield _batch(rows, layout, ledger)
                total, rows = total + len(rows), []
        if rows:
            yield _batch(rows, layout, ledger)
        if duplicates := ledger.duplicates():
            _name_duplicates(source, layout, problems, duplicates)
    problems.raise_if_any()
    if not total + len(rows):
        what = "is empty; it needs at least one row" if layout.only is None else layout.only.none_found
        raise PetError(f"{name}: {source.shown}: {what}")


def _batch(rows: list[tuple[Any, ...]], layout: Layout, ledger: IdLedger) -> pa.RecordBatch:
    batch = batch_of(rows, layout.schema)
    if layout.id_column is not None:
        ledger.add(batch.column("id"))
    return batch


def _name_duplicates(source: Source, layout: Layout, problems: Problems, duplicates: frozenset[int]) -> None:
    """Read again to find the rows of the ids whose hashes appear more than once."""
    first: dict[str, tuple[int, int]] = {}
    for place, values in walk(source, layout, Problems(source, "")):
        text = values[0]
        if hash(text) not in duplicates:
            continue
        if text in first:
            cure = "make the ids unique, or number the rows with --column id="
            message = f"has the same id {text[:60]!r} as {source.unit} {source.number(first[text])}; {cure}"
            problems.add(place, "duplicate ids", message, text)
        else:
            first[text] = place


def _stream(source: Source, layout: Layout, name: str, chunk_rows: int, fast: bool) -> Iterator[list[pa.RecordBatch]]:
    """Yield the batches of each chunk."""
    batches = fast_batches(source, layout) if fast else _walked(source, layout, name)
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    try:
        for batch in batches:
            while batch.num_rows:
                part = batch.slice(0, chunk_rows - rows)
                batch = batch.slice(part.num_rows)
                waiting.append(part)
                rows, size = rows + part.num_rows, size + part.nbytes
                if rows == chunk_rows or size > CHUNK_BYTES:
                    yield waiting
                    waiting, rows, size = [], 0, 0
    except Unsound:
        raise PetError(f"{name}: {source.shown}: changed while it was read; run the command again") from None
    if waiting:
        yield waiting
