"""Read a table row by row: name every mistake, or read what the fast path could not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from pet.data.columns import Layout, label_mistake, missing_column, same_columns, two_columns
from pet.data.compressed import BrokenFile
from pet.data.delimited import Dialect, split_records
from pet.data.dialect import shown
from pet.data.label_codes import LabelCodes
from pet.data.label_sets import LabelSets, UnknownLabel
from pet.data.problems import Place, Problems
from pet.data.source import Source, arrow_batches, column_names, first_line
from pet.data.text_file import BOM, not_utf8, open_bytes
from pet.data.values import as_text, is_unicode, kind_of
from pet.spelling import compose
from pet.store.spreadsheet import unquoted
from pet.terminal import counted

_SPLIT_ARRAY = "jq -c '.[]' FILE > NEW.jsonl"


def walk(source: Source, layout: Layout, problems: Problems) -> Iterator[tuple[Place, tuple[Any, ...]]]:
    """Yield place and values (id, fields, label or label set) of every valid row; mistakes go to `problems`."""
    found = ((place, row) for place, record in records(source, layout, problems) for row in layout.rows(record))
    for number, (place, record) in enumerate(found):
        if layout.only is not None and not layout.only(record):
            continue
        values = checked_row(place, record, layout, problems)
        if values is not None:
            yield place, (values[0] if layout.id_column is not None else str(number), *values[1:])


def checked_row(place: Place, record: Mapping[str, Any], layout: Layout, problems: Problems) -> tuple[Any, ...] | None:
    """Return the id (None without ids), fields and label position of a row; None if it has a mistake."""
    wanted: Mapping[str, str] = layout.columns
    if layout.id_column is not None:
        wanted = {"id": layout.id_column, **layout.columns}
    if layout.stray_id is not None and record.get(layout.stray_id) is not None:
        problems.add(place, "id", "has an id, but the first line has none; give every line an id, or use --column id=")
    found: dict[str, Any] = {"id": None}
    for name, column in wanted.items():
        if name == "label" and isinstance(layout.codes, LabelSets):
            found[name] = _label_set(place, column, record, layout.codes, problems)
            continue
        text = _text(place, name, column, record, problems)
        if text is None:
            continue
        if name == "label" and isinstance(layout.codes, LabelCodes):
            found[name] = layout.codes.find(text)
            if found[name] is None:
                problems.add(place, "unknown label", label_mistake(text, layout.codes), text)
        else:
            found[name] = text
    if len(found) <= len(layout.columns) or found.get("label", 0) is None:
        return None
    return tuple(found.values()) if layout.id_column is None or found["id"] is not None else None


def _text(place: Place, name: str, column: str, record: Mapping[str, Any], problems: Problems) -> str | None:
    there = _key(place, name, column, record, problems)
    return None if there is None else checked_text(place, name, record[there], problems)


def _label_set(
    place: Place, column: str, record: Mapping[str, Any], labels: LabelSets, problems: Problems
) -> list[int] | None:
    """Return 1 for each label of a row and 0 for the others; None if it has a mistake."""
    there = _key(place, "label", column, record, problems)
    if there is None:
        return None
    try:
        return labels.indicator(record[there])
    except UnknownLabel as error:
        text = str(error)
        problems.add(place, "unknown label", label_mistake(text, labels), text)
    except ValueError as error:
        problems.add(place, "label", str(error), str(error))
    return None


def _key(place: Place, name: str, column: str, record: Mapping[str, Any], problems: Problems) -> str | None:
    """Return the key of a column in a row; None, with the mistake added to `problems`, if the row lacks it."""
    if column in record:
        return column
    same = same_columns(column, record)
    if len(same) == 1:
        return same[0]
    line = two_columns(same) if same else missing_column("", name, column, record).removeprefix(": ")
    problems.add(place, "missing", line, name)
    return None


def checked_text(place: Place, name: str, value: Any, problems: Problems) -> str | None:
    """Return the text of a value; None, with the mistake added to `problems`, if it has none.

    Parameters
    ----------
    place : where the value is
    name : field of the table, or ``id`` or ``label``
    value : as given in the file or by the user
    """
    text = as_text(value)
    if (text and is_unicode(text)) or (text == "" and name != "id"):
        return text if name in ("id", "label") else compose(text)
    thing = f"field {name!r}" if name not in ("id", "label") else name
    if text is None:
        kind = kind_of(value)
        message = f"{thing} is {kind}, but must be a text; write a text or remove the row"
        problems.add(place, f"{thing} is {kind}", message)
    elif not text:
        problems.add(place, "id", "id is empty; give every row an id, or number the rows with --column id=", "empty")
    else:
        message = f"{thing} contains half a character (a lone surrogate such as \\ud83d); remove it"
        problems.add(place, "half a character", message)
    return None


def records(
    source: Source, layout: Layout, problems: Problems, *, numbers: bool = False
) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """Yield place and columns of every row that can be read; mistakes are added to `problems`.

    Numbers in JSON lines are returned as the text they are written as; with `numbers`, as numbers. Columns that the
    layout needs must appear once; others, and columns without a name, may repeat.
    """
    if _has_columns_twice(source, layout, problems):
        return iter(())
    if source.kind == "json":
        return _json_records(source, layout, problems, numbers)
    if source.dialect is not None:
        return _csv_records(source, source.dialect, problems)
    return _arrow_records(source, layout, problems)


def _has_columns_twice(source: Source, layout: Layout, problems: Problems) -> bool:
    header = [] if source.kind == "json" else column_names(source) or []
    if len(set(map(compose, header))) == len(header):
        return False
    found = [same for column in filter(None, layout.file_columns) if len(same := same_columns(column, header)) > 1]
    for same in found:
        problems.add((0, 1), "columns", two_columns(same), same[0])
    return bool(found)


def _lines(source: Source, problems: Problems) -> Iterator[tuple[int, str | None]]:
    """Yield lines with their numbers from 1; None for a line that is not UTF-8."""
    number = 0
    try:
        with open_bytes(source.paths[0], source.encoding) as file:
            for number, line in enumerate(file, start=1):
                line = line.removeprefix(BOM) if number == 1 else line
                try:
                    yield number, line.decode("utf-8")
                except UnicodeDecodeError as error:
                    problems.add((0, number), "UTF-8", not_utf8(line, error))
                    yield number, None
    except BrokenFile as error:
        problems.add((0, number + 1), "compressed", str(error))


class _Duplicates(dict[str, Any]):
    """A JSON object with duplicate keys."""

    keys_twice: frozenset[str]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs) and ("".join(made).isascii() or len(set(map(compose, made))) == len(pairs)):
        return made
    counts = Counter(compose(key) for key, _ in pairs)
    found = _Duplicates(made)
    found.keys_twice = frozenset(key for key in made if counts[compose(key)] > 1)
    return found


def _keys_twice(record: Any, wanted: set[str]) -> list[str]:
    """Keys that appear twice: of the wanted columns, or in an object that is the value of one."""
    if not isinstance(record, dict):
        return []
    twice = set(record.keys_twice & wanted) if isinstance(record, _Duplicates) else set()
    for column in wanted:
        value = record.get(column)
        if isinstance(value, _Duplicates):
            twice |= value.keys_twice
    return sorted(twice)


def _json_records(
    source: Source, layout: Layout, problems: Problems, numbers: bool
) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    # Numbers stay as they are written. Some libraries write null as NaN.
    kind = None if numbers else str
    decoder = json.JSONDecoder(
        parse_int=kind, parse_float=kind, parse_constant=lambda _: None, object_pairs_hook=_object
    )
    wanted = set(layout.file_columns)
    for number, line in _lines(source, problems):
        if line is None or not line.strip():
            continue
        place = (0, number)
        try:
            record = decoder.decode(line)
        except (ValueError, RecursionError) as error:
            problems.add(place, "JSON", _json_mistake(line, error))
            continue
        # As in the fast path, columns that are not requested do not matter.
        twice = _keys_twice(record, wanted)
        if twice:
            problems.add(place, "duplicate keys", f"has the key {twice[0]!r} twice; keep one of them", twice[0])
        elif isinstance(record, dict):
            yield place, record
        else:
            what = "an array" if isinstance(record, list) else "null" if record is None else "a single value"
            cure = f" (for an array of objects: {_SPLIT_ARRAY})" if isinstance(record, list) else ""
            problems.add(place, "object", f'is {what}; each line must be an object such as {{"text": "…"}}{cure}')


def _json_mistake(line: str, error: ValueError | RecursionError) -> str:
    if not isinstance(error, json.JSONDecodeError):
        return "is nested too deeply to read; remove what is not needed"
    if line.strip() in ("[", "{"):
        return f"the file is one JSON value over several lines; write one object per line ({_SPLIT_ARRAY})"
    if error.msg == "Extra data":
        if "\r" in line.strip():
            return "its lines end in CR alone, as on old Macs; end them with LF or CRLF (tr '\\r' '\\n' < FILE > NEW)"
        if line[error.pos :].strip() == ",":
            return "ends with a comma after the object; remove it"
        return "contains more than one JSON value; write one object per line"
    if not line.endswith("\n"):
        return "ends in the middle of a line: the file is truncated; download it again or remove its last line"
    return f"is not JSON ({error.msg} at column {error.colno}); write one object per line"


def _csv_records(source: Source, dialect: Dialect, problems: Problems) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    lines = (line for _, line in _lines(source, problems) if line is not None)
    header: list[str] | None = None
    for record in split_records(lines, dialect):
        place = (0, record.line)
        if record.mistake:
            problems.add(place, "CSV", record.mistake, record.mistake)
            if header is None:  # without their names, columns cannot be checked
                return
        elif header is None:
            header = list(map(unquoted, record.values))
        elif len(record.values) == len(header):
            yield place, dict(zip(header, map(unquoted, record.values), strict=True))
        else:
            width = len(record.values)
            message = f"has {counted(width, 'column')}, but the header has {len(header)}"
            cure = f"quote values that contain {shown(dialect.delimiter)}"
            if width < len(header):
                cure = "add what is missing, or quote values that contain a line break"
            if len(header) == 1:
                cure += ", or add --delimiter tab if the file has a single column"
            problems.add(place, "columns", f"{message}; {cure}", str(width))


def _arrow_records(source: Source, layout: Layout, problems: Problems) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    file, row = 0, 0
    try:
        for (file, row), batch in arrow_batches(source, layout.file_columns):
            for offset, record in enumerate(plain_rows(batch, source)):
                yield (file, row + offset), record
            row += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        problems.add(
            (file, row + 1),
            "broken",
            f"the file is broken from about here ({first_line(error)}); download it again",
        )


def plain_rows(batch: pa.RecordBatch, source: Source) -> list[dict[str, Any]]:
    """Return the rows of a Parquet or hub table as Python objects; numbers of classes become their names."""
    rows: list[dict[str, Any]] = batch.to_pylist()
    for column, names in source.class_names.items():
        for row in rows:
            index = row.get(column)
            if isinstance(index, int):
                row[column] = names[index] if 0 <= index < len(names) else None
    return rows
