"""The fast path: read files block by block with Arrow, in constant memory."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterator
from typing import IO

import pyarrow as pa
import pyarrow.csv as pc_csv
import pyarrow.json as pc_json

from pet.data.columns import Layout, canonical
from pet.data.source import BOM, BROKEN_GZIP, DELIMITERS, Source, Unsound, arrow_batches, open_bytes

BLOCK = 8 << 20  # bytes
JSON_TYPES = {str: pa.string(), bool: pa.bool_(), int: pa.int64()}
MOST_BLOCK = 2**31 - 2  # bytes; Arrow counts them in 32 bits


def fast_batches(source: Source, layout: Layout) -> Iterator[pa.RecordBatch]:
    """Yield the table in batches with the columns of `layout.schema`.

    Raises
    ------
    Unsound
        At anything that may be a mistake, or that the row-by-row reader would read differently.
    """
    start = 0
    try:
        for batch in _raw_batches(source, layout):
            if batch.num_rows:
                yield canonical(batch, layout, source, start)
                start += batch.num_rows
    except (pa.ArrowException, UnicodeDecodeError, KeyError, *BROKEN_GZIP) as error:
        raise Unsound(str(error)) from error
    except OSError as error:  # Arrow raises it for a broken page of a Parquet file
        if source.kind != "parquet":
            raise
        raise Unsound(str(error)) from error


def _raw_batches(source: Source, layout: Layout) -> Iterator[pa.RecordBatch]:
    if source.kind == "json":
        return _json_batches(source, layout)
    if source.kind in DELIMITERS:
        return _csv_batches(source, layout)
    return (batch for _, batch in arrow_batches(source, layout.file_columns))


def _json_batches(source: Source, layout: Layout) -> Iterator[pa.RecordBatch]:
    schema = None
    with open_bytes(source.paths[0]) as file:
        for block in _blocks(file):
            if not block.strip():
                continue
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


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Blocks of whole lines, without the byte order mark."""
    rest, first = [], True
    while chunk := file.read(BLOCK):
        if first:
            chunk, first = chunk.removeprefix(BOM), False
        cut = chunk.rfind(b"\n") + 1
        if not cut:
            rest.append(chunk)
            if len(rest) * BLOCK > MOST_BLOCK:
                raise Unsound("a line of 2 GB")
            continue
        yield b"".join([*rest, chunk[:cut]])
        rest = [chunk[cut:]]
    yield b"".join(rest)


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


class _Watched(io.RawIOBase):
    """A file that checks UTF-8 and counts quotes while Arrow reads it.

    Arrow accepts a quoted value that is cut off by the end of the file, and does not check the bytes of columns that
    are not requested.
    """

    def __init__(self, file: IO[bytes]):
        self.file = file
        self.quotes = 0
        self.decoder = codecs.getincrementaldecoder("utf-8")()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        chunk = self.file.read(size)
        self.quotes += chunk.count(b'"')
        self.decoder.decode(chunk, final=not chunk)
        return chunk


def _csv_batches(source: Source, layout: Layout) -> Iterator[pa.RecordBatch]:
    with open_bytes(source.paths[0]) as file:
        watched = _Watched(file)
        reader = pc_csv.open_csv(
            pa.PythonFile(watched, mode="r"),
            read_options=pc_csv.ReadOptions(use_threads=False, block_size=BLOCK),
            parse_options=pc_csv.ParseOptions(delimiter=DELIMITERS[source.kind], newlines_in_values=True),
            convert_options=pc_csv.ConvertOptions(
                include_columns=layout.file_columns,
                column_types={column: pa.string() for column in layout.file_columns},
                strings_can_be_null=False,
                null_values=[],
            ),
        )
        yield from reader
        if watched.quotes % 2:
            raise Unsound("an unclosed quote")
