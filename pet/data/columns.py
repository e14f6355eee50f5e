"""Map the columns of a file to those of a table: id, the fields, label."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from unicodedata import is_normalized

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pet.data.label_codes import LabelCodes
from pet.data.label_sets import LabelSets
from pet.data.only import Only
from pet.data.source import Source, Unsound
from pet.data.table_format import TableNotice
from pet.data.values import as_text, is_missing_label
from pet.errors import PetError
from pet.spelling import Names, compose, fold, unlike
from pet.task.nested import Nested, parse_nested, unfold
from pet.task.usual import UsualColumn

_LONGEST_NAME = 4  # words of the name of a column


@dataclass(frozen=True)
class Layout:
    """How the columns of a file become the columns of a table.

    Parameters
    ----------
    columns : mapping of str to str
        Column of the table -> column of the file, without the id.
    id_column : str or None
        Column of the file with the ids; None: ids are row numbers, from 0.
    codes : LabelCodes, LabelSets or None
        Positions of the labels; LabelSets if a text may have several; None: do not read labels.
    stray_id : str or None
        An id column that the first JSON line lacks. Rows are numbered then, and no line may have it.
    nested : mapping of str to (str, Nested)
        Column of the table -> its column in `columns`, and what it stands for, if that is a value inside a row.
    only : Only or None
        Read only these rows. Ids that are row numbers count all rows.
    """

    columns: Mapping[str, str]
    id_column: str | None
    codes: LabelCodes | LabelSets | None
    stray_id: str | None = None
    nested: Mapping[str, tuple[str, Nested]] = field(default_factory=dict)
    only: Only | None = None

    @property
    def file_columns(self) -> list[str]:
        """The needed columns of the file, each once."""
        wanted = [column for name, column in self.columns.items() if name not in self.nested]
        wanted += [self.id_column] if self.id_column is not None else []
        wanted += [self.only.column] if self.only is not None else []
        return list(
            dict.fromkeys([*wanted, *(root for _, value in self.nested.values() for root in sorted(value.roots))])
        )

    def rows(self, record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Yield the rows of a record of the file: one, unless columns are lists inside it."""
        return unfold(record, self.nested) if self.nested else iter((record,))

    @property
    def fields(self) -> list[str]:
        return [column for column in self.columns if column != "label"]

    @property
    def schema(self) -> pa.Schema:
        texts = [(name, pa.string()) for name in ("id", *self.fields)]
        if self.codes is None:
            return pa.schema(texts)
        one = pa.int64() if isinstance(self.codes, LabelCodes) else pa.list_(pa.int8(), len(self.codes))
        return pa.schema([*texts, ("label", one)])


def lay_out(
    header: Sequence[str] | None,
    fields: Sequence[str],
    codes: LabelCodes | LabelSets | None,
    columns: Mapping[str, str],
    place: str,
    *,
    strict: bool,
) -> Layout:
    """Find the columns of a table among those of a file.

    Parameters
    ----------
    header : columns of the file, if they are known
    fields : of the task
    codes : positions of the labels; None: do not read labels
    columns : field (or ``label``, ``id``) -> column; a file may lack a `UsualColumn` if it has the field's own name
    place : start of the messages
    strict : whether every row has the columns of `header`, as in all formats but JSON lines

    Raises
    ------
    PetError
        With every column that is missing or ambiguous.
    """
    known = [*fields, "id", "label"]
    names = Names(known)
    columns = {names.find(key) or key: column for key, column in columns.items()}
    problems = [
        f"{place}: --column: {key!r} is not a field of the task{near(key, known)}; the fields are {some(fields)}"
        for key in columns
        if key not in known
    ]
    problems += [
        f"{place}: a field may not be named {key!r}, which is reserved; rename the field"
        for key in ("id", "label")
        if key in fields
    ]
    columns = present_columns(columns, header)
    wanted = {name: columns.get(name, name) for name in [*fields, *(["label"] if codes is not None else [])]}
    if columns.get("id", "id") and ("id" in columns or "id" in (header or ())):
        wanted["id"] = columns.get("id", "id")
    nested, wrong = _nested_columns(wanted, header)
    problems += [f"{place}: --column {name}: {message}" for name, message in wrong.items()]
    if header is not None:
        problems += _match(wanted, nested, header, place, strict=strict)
    if problems:
        raise PetError(dict.fromkeys(problems))
    id_column = wanted.pop("id", None)
    stray = id_column is None and "id" not in columns and not strict and header is not None
    return Layout(wanted, id_column, codes, "id" if stray else None, nested)


def _match(
    wanted: dict[str, str], nested: Mapping[str, tuple[str, Nested]], header: Sequence[str], place: str, *, strict: bool
) -> list[str]:
    """Replace wanted columns by those of the file that have the same name; return messages about the others."""
    problems = []
    for name, column in wanted.items():
        same = same_columns(column, header)
        if name in nested:
            roots = [root for root in sorted(nested[name][1].roots) if not same_columns(root, header)]
            problems += [missing_column(place, name, root, header) for root in roots if strict]
        elif len(same) == 1:
            wanted[name] = same[0]
            _announce(place, column, same[0])
        elif same:
            problems.append(f"{place}: {two_columns(same)}")
        elif strict:
            problems.append(missing_column(place, name, column, header))
    return problems


def _nested_columns(
    wanted: Mapping[str, str], header: Sequence[str] | None
) -> tuple[dict[str, tuple[str, Nested]], dict[str, str]]:
    """Return the columns that are values inside a row, and messages about those that cannot be read."""
    nested, wrong = {}, {}
    for name, column in wanted.items():
        if name == "id" or same_columns(column, header or ()):
            continue
        try:
            value = parse_nested(column, wanted)
        except ValueError as error:
            wrong[name] = str(error)
            continue
        if value is not None:
            nested[name] = column, value
    return nested, wrong


def present_columns(columns: Mapping[str, str], header: Sequence[str] | None) -> dict[str, str]:
    """Return the columns without those that only the task file names and the file need not have.

    These are columns of fields if the file has a column with the field's own name, and the column of ids.

    Examples
    --------
    >>> present_columns({"text": UsualColumn("review")}, ["text", "label"])
    {}
    """
    names = header or ()

    def is_absent(key: str, column: str) -> bool:
        usual = isinstance(column, UsualColumn) and not same_columns(column, names)
        if usual and (value := parse_nested(column, columns)) is not None:
            return not any(same_columns(root, names) for root in value.roots)
        return usual and (key == "id" or bool(same_columns(key, names)))

    return {key: column for key, column in columns.items() if header is None or not is_absent(key, column)}


def _announce(place: str, column: str, found: str) -> None:
    """Warn that a column was found although its name is spelled differently."""
    if found != column:
        how = "decomposed" if compose(found) != found else "composed"
        notice = f"{place}: reads the column {shorten(found)} as {shorten(column)}; its accents are {how}"
        warnings.warn(TableNotice(f"{notice} (different characters: {unlike(found, column)})"), stacklevel=4)


def same_columns(column: str, header: Iterable[str]) -> list[str]:
    """Return the columns that have a name, with its accents composed or decomposed; more than one is a mistake.

    Examples
    --------
    >>> same_columns("text", ["text", "label", "text"])
    ['text', 'text']
    """
    key = compose(column)
    return [other for other in header if compose(other) == key]


def two_columns(same: Sequence[str]) -> str:
    """Return the message for columns that have the same name."""
    hidden = unlike(same[1], same[0])
    how = "twice" if len(same) == 2 else f"{len(same)} times"
    return f"has the column {shorten(same[0])} {how}{f' (once with {hidden})' if hidden else ''}; rename or remove one"


def missing_column(place: str, name: str, column: str, header: Iterable[str]) -> str:
    """Return the message for a column that a file does not have."""
    header = list(header)
    thing = f"field {name!r}" if name not in ("id", "label") else name
    via = f" (column {column!r})" if column != name else ""
    cure = f"name the right one with --column {name}=COLUMN"
    if any(len(other.split()) > _LONGEST_NAME or other.strip().isdigit() for other in header):
        cure = f"if its first line is a row, add a line with names such as {name} above it; otherwise {cure}"
    return f"{place}: {thing}{via} is missing; the columns are {some(header)}{near(column, header)}; {cure}"


def _numbers(start: int, count: int) -> pa.Array:
    """Return whole numbers from `start` on; `pyarrow.array` would import pandas, which takes 0.2 s."""
    numbers = np.arange(start, start + count, dtype=np.int64)
    return pa.Array.from_buffers(pa.int64(), count, [None, pa.py_buffer(numbers)])


def canonical(batch: pa.RecordBatch, layout: Layout, source: Source, start: int) -> pa.RecordBatch:
    """Return a batch with the columns of the table.

    Parameters
    ----------
    batch : with the columns of the file
    layout : how to map them
    source : where the batch comes from
    start : number of its first row in the table, from 0

    Raises
    ------
    Unsound
        If a value is null or cannot be text, or a label is unknown.
    """
    rows = _numbers(start, batch.num_rows)
    if layout.only is not None:
        read = layout.only.mask(_named(batch, layout.only.column, source))
        batch, rows = batch.filter(read), rows.filter(read)
    arrays = {name: _texts(batch, column, source) for name, column in layout.columns.items()}
    if layout.id_column is None:
        ids = pc.cast(rows, pa.string())
    else:
        ids = _texts(batch, layout.id_column, source)
        if pc.min_max(pc.binary_length(ids))["min"].as_py() == 0:  # a text to compare with would import pandas
            raise Unsound("an empty id")
    if layout.stray_id is not None and batch.column(layout.stray_id).null_count < batch.num_rows:
        raise Unsound("some rows have an id, the first has none")
    made = [ids, *(composed(arrays[name]) for name in layout.fields)]
    if isinstance(layout.codes, LabelCodes):
        positions = layout.codes.find_all(arrays["label"])
        if positions.null_count:
            raise Unsound("unknown label")
        made.append(positions)
    return pa.RecordBatch.from_arrays(made, schema=layout.schema)


def _texts(batch: pa.RecordBatch, column: str, source: Source) -> pa.Array:
    array = _named(batch, column, source)
    kind = array.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or _is_string(kind):
        array = pc.cast(array, pa.string())
    else:  # other numbers are formatted by Python, as in the row-by-row reader
        array = pa.array([as_text(value) for value in array.to_pylist()], pa.string())
    if array.null_count:
        raise Unsound(f"no text in column {column!r}")
    return array


def _named(batch: pa.RecordBatch, column: str, source: Source) -> pa.Array:
    """Return a column, with names in place of integers that stand for them; other integers, such as -1, are null."""
    array = batch.column(batch.schema.get_field_index(column))
    names = source.class_names.get(column)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if names is None or not pa.types.is_integer(array.type):
        return array
    inside = pc.and_(pc.greater_equal(array, 0), pc.less(array, len(names)))
    return pa.array(names, pa.string()).take(pc.if_else(inside, array, None))


def composed(array: pa.Array) -> pa.Array:
    """Return texts with accents composed (Unicode NFC), as in patterns, so that both give the same tokens."""
    if pc.all(pc.string_is_ascii(array)).as_py():
        return array
    texts = array.to_pylist()
    if all(is_normalized("NFC", text) for text in texts):
        return array
    return pa.array([compose(text) for text in texts], array.type)  # utf8_normalize of pyarrow 15 composes nothing


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or str(kind) == "string_view")


_LABEL_CURE = "correct the data, or map it to a label with label_map in the task file"


def label_mistake(text: str, codes: Iterable[str], cure: str = _LABEL_CURE) -> str:
    """Return what is wrong with a text that is not a label, and the cure.

    Examples
    --------
    >>> label_mistake("nan", ["bad", "good"])
    "label 'nan' is missing; write one of 'bad', 'good', or remove the row"
    """
    if is_missing_label(text):
        return f"label {shorten(text)} is missing; write one of {some(codes)}, or remove the row"
    return f"label {shorten(text)} is not one of the task's labels: {some(codes)}{near(text, codes)}; {cure}"


def near(word: str, choices: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the choice that is most similar to `word`, or an empty text.

    Examples
    --------
    >>> near("Text", ["text", "label"])
    " (did you mean 'text'?)"
    """
    listed = list(choices)
    folded = [choice for choice in listed if fold(choice) == fold(word)]
    likely = folded or difflib.get_close_matches(word[:100], listed, n=1, cutoff=0.7)
    if not likely:
        return ""
    hidden = unlike(word, likely[0])
    return f" (did you mean {shorten(likely[0])}?{f' Yours has {hidden}' if hidden else ''})"


def some(words: Iterable[str], most: int = 12) -> str:
    """Return up to `most` words, quoted and separated by commas, for a message.

    Examples
    --------
    >>> some(["a", "b", "c"], most=2)
    "'a', 'b', … (3 in all)"
    """
    listed = [shorten(word) for word in words]
    more = f", … ({len(listed)} in all)" if len(listed) > most else ""
    return (", ".join(listed[:most]) + more) or "nothing"


def shorten(text: str, width: int = 60) -> str:
    """Return a text for a message: quoted, with control characters escaped, and cut to `width`."""
    return repr(text if len(text) <= width else text[: width - 1] + "…")
