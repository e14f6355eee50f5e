"""The fast path: read files block by block with Arrow, in constant memory."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv
import pyarrow.json as pc_json

from pet.data.columns import Layout, canonical
from pet.data.compressed import BrokenFile
from pet.data.delimited import Dialect
from pet.data.label_sets import LabelSets
from pet.data.source import Source, Unsound, arrow_batches
from pet.data.text_file import BLOCK, line_blocks, open_bytes
from pet.store.spreadsheet import MARK, ORIGINAL, QUOTED

JSON_TYPES = {str: pa.string(), bool: pa.bool_(), int: pa.int64()}
MOST_BLOCK = 2**31 - 2  # bytes; Arrow counts them in 32 bits


def fast_batches(source: Source, layout: Layout) -> Iterator[pa.RecordBatch]:
    """Yield the table in batches with the columns of `layout.schema`.

    Raises
    ------
    Unsound
        At anything that may be a mistake, or that the row-by-row reader would read differently.
    """
    if isinstance(layout.codes, LabelSets):
        raise Unsound("a text may have several labels")
    start = 0
    if layout.nested:
        raise Unsound("values inside a row")
    try:
        for batch in _raw_batches(source, layout):
            if batch.num_rows:
                yield canonical(batch, layout, source, start)
                start += batch.num_rows
    except (pa.ArrowException, UnicodeDecodeError, KeyError, BrokenFile) as error:
        raise Unsound(str(error)) from error
    except OSError as error:  # Arrow raises it for a broken part of a file
        if source.kind not in ("parquet", "arrow"):
            raise
        raise Unsound(str(error)) from error


def _raw_batches(source: Source, layout: Layout) -> Iterator[pa.RecordBatch]:
    if source.kind == "json":
        return _json_batches(source, layout)
    if source.dialect is not None:
        return _csv_batches(source, source.dialect, layout)
    return (batch for _, batch in arrow_batches(source, layout.file_columns))


def _json_batches(source: Source, layout: Layout) -> Iterator[pa.RecordBatch]:
    schema = None
    with open_bytes(source.paths[0], source.encoding) as file:
        for block in line_blocks(file, BLOCK):
            if not block.strip():
                continue
            if len(block) > MOST_BLOCK:
                raise Unsound("a line of 2 GB")
            block.decode("utf-8")  # Arrow does not check it
            schema = _json_schema(block, layout) if schema is None else schema
            table = pc_json.read_json(
                io.BytesIO(block),
                # Threads would split the block again, and lines may be longer than those parts.
                read_options=pc_json.ReadOptions(use_threads=False, block_size=len(block) + 1),
                parse_options=pc_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
            )
            if table.num_rows != block.count(b"\n") and table.num_rows != sum(
                1 for line in block.split(b"\n") if line.strip()
            ):
                raise Unsound("lines and objects do not match one to one")
            yield from table.combine_chunks().to_batches()


def _json_schema(block: bytes, layout: Layout) -> pa.Schema:
    """Types of the columns from the first line. Arrow itself would take some texts for dates."""
    try:
        record = json.loads(block.lstrip().split(b"\n", 1)[0])
    except (ValueError, RecursionError) as error:
        raise Unsound(str(error)) from error
    if not isinstance(record, dict):
        raise Unsound("the first line is not an object")
    kinds = []
    for column in layout.file_columns:
        if type(record.get(column)) not in JSON_TYPES:
            raise Unsound(f"column {column!r} begins with neither text nor integer")
        kinds.append((column, JSON_TYPES[type(record[column])]))
    if layout.stray_id is not None and layout.stray_id not in layout.file_columns:
        kinds.append((layout.stray_id, pa.string()))
    return pa.schema(kinds)


def _csv_batches(source: Source, dialect: Dialect, layout: Layout) -> Iterator[pa.RecordBatch]:
    if not dialect.arrow:
        raise Unsound("Arrow would split it in another way")
    with open_bytes(source.paths[0], source.encoding) as file:
        batches = pc_csv.open_csv(
            pa.PythonFile(file, mode="r"),
            read_options=pc_csv.ReadOptions(use_threads=False, block_size=BLOCK),
            parse_options=pc_csv.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char='"' if dialect.quoted else False,
                newlines_in_values=dialect.spans,
            ),
            convert_options=pc_csv.ConvertOptions(
                include_columns=layout.file_columns,
                column_types={column: pa.string() for column in layout.file_columns},
                strings_can_be_null=False,
                null_values=[],
            ),
        )
        yield from map(_without_marks, batches)


def _without_marks(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Undo `pet.store.spreadsheet.quoted`."""
    marked = [pc.any(pc.starts_with(column, MARK)).as_py() for column in batch.columns]
    if not any(marked):
        return batch
    columns = [
        pc.replace_substring_regex(column, QUOTED, ORIGINAL) if has_marks else column
        for column, has_marks in zip(batch.columns, marked, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)
