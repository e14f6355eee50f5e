"""Guess which columns of a file hold the texts, and which one the labels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pet.data.columns import near, same_columns, some
from pet.data.infer_ids import IdProfile, guess_id
from pet.data.label_sets import cell_parts, json_list
from pet.data.label_spellings import similar_labels
from pet.data.open_source import open_source
from pet.data.read import read_table
from pet.data.rows import whole_rows
from pet.data.source import column_names
from pet.data.table_format import DETECT, TableFormat
from pet.data.values import as_text, label_text
from pet.errors import PetError
from pet.spelling import Names, meaning

MOST_LABELS = 200
LONGEST_LABEL = 100  # characters; a label is a name
MOST_FIELDS = 3
_INSIDE = "values inside objects are read if `columns` in a task file names them, as columns: {text: data.text}"
_SEPARATORS = ";|,"  # between the labels of a cell
_DECIMAL = re.compile(r"[-+]?\d+(,\d+)?")
_LABEL_NAMES = (
    "label", "labels", "class", "category", "target", "topic", "intent", "sentiment", "emotion", "stars",
    "rating", "score", "answer", "y", "tag", "type", "coarse_label", "label_text",
)  # fmt: skip
_NO_TEXT = (
    "id", "idx", "index", "guid", "uid", "uuid", "url", "date", "time", "timestamp", "source", "author", "user",
)  # fmt: skip


@dataclass
class ColumnProfile:
    """Counts over the values of one column.

    Attributes
    ----------
    name : str
    filled : int
        Rows with a value that is not blank.
    words, characters : int
        Totals over all values.
    longest : int
        Characters of the longest value.
    values : dict of str to int
        Distinct values and how often each appears. Counting stops when there are too many to be labels.
    names : tuple of str
        Names of the classes, in order, if the file itself has them.
    ids : IdProfile
        Whether the values could be ids.
    several : bool
        True if values are lists, or texts with a separator; `values` then counts their entries.
    separator : str
        Character between the entries of a text.
    objects : bool
        True if values are objects, which have no text.
    """

    name: str
    filled: int = 0
    words: int = 0
    characters: int = 0
    longest: int = 0
    values: dict[str, int] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    ids: IdProfile = field(default_factory=IdProfile)
    several: bool = False
    separator: str = ""
    objects: bool = False

    def add_list(self, entries: Sequence[str]) -> None:
        """Count a list of labels, which may be empty."""
        self.several = True
        self.filled += 1
        for entry in dict.fromkeys(entries):
            self.longest = max(self.longest, len(entry))
            if entry in self.values or len(self.values) <= MOST_LABELS:
                self.values[entry] = self.values.get(entry, 0) + 1

    def add(self, text: str) -> None:
        """Count a value."""
        self.ids.add(text)
        if not text.strip():
            return
        self.filled += 1
        self.words += len(text.split())
        self.characters += len(text)
        self.longest = max(self.longest, len(text))
        if text in self.values or len(self.values) <= MOST_LABELS:
            self.values[text] = self.values.get(text, 0) + 1

    @property
    def many(self) -> bool:
        """True if there are more distinct values than a task may have labels."""
        return len(self.values) > MOST_LABELS

    @property
    def repeats(self) -> bool:
        """True if values repeat, as labels do."""
        return not self.many and 2 <= len(self.values) <= self.filled / 2

    @property
    def looks_like_text(self) -> bool:
        """True for several words per value (or many characters, for scripts without spaces) and few repeats."""
        if not self.filled or self.repeats:
            return False
        return self.words / self.filled >= 2.5 or (self.characters / self.filled >= 12 and not self._ascii)

    @property
    def average_length(self) -> float:
        """Mean characters of a value."""
        return self.characters / self.filled

    @property
    def _ascii(self) -> bool:
        return all(value.isascii() for value in self.values)


@dataclass(frozen=True)
class InferredColumns:
    """What the columns of a file hold.

    Attributes
    ----------
    rows : int
    text : tuple of str
        Columns of the texts.
    label : str
        Column of the labels.
    labels : tuple of str
        Its values, in order.
    counts : tuple of int
        Rows of each label.
    others : tuple of str
        All other columns.
    id : str or None
        Column of the ids, if the file has one.
    similar : tuple of tuples of str
        Labels that differ only in case or spaces; see `pet.data.label_spellings.similar_labels`.
    label_map : mapping of str to str
        Value -> label, for values that were merged into another label.
    fields : mapping of str to str
        Column -> field, for text columns whose field was given a name.
    labeled : int
        Rows with a label.
    several : bool
        True if a text may have several labels.
    separator : str
        Character between the labels of a cell; empty if they are lists.
    """

    rows: int
    text: tuple[str, ...]
    label: str
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    others: tuple[str, ...]
    id: str | None = None
    similar: tuple[tuple[str, ...], ...] = ()
    label_map: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    labeled: int = 0
    several: bool = False
    separator: str = ""


def infer_columns(
    source: str,
    *,
    text: Sequence[str] = (),
    label: str | None = None,
    ids: str | None = None,
    merge_labels: bool = False,
    table_format: TableFormat = DETECT,
) -> InferredColumns:
    """Read a file and find its text columns and its labels.

    Parameters
    ----------
    source : str
        As for `pet.data.read.read_table`.
    text : sequence of str
        Text columns; default: a guess.
    label : str, optional
        Label column; default: a guess.
    ids : str, optional
        Column of the ids; empty for none; default: a guess.
    merge_labels : bool
        Merge labels that differ only in case or spaces.
    table_format : TableFormat
        Encoding, delimiter and quoting; default: detected.

    Raises
    ------
    PetError
        If the file cannot be read, a named column does not exist, no column looks right, or there are too many labels,
        too few, or too long ones.
    """
    rows, columns = _columns(source, table_format)
    text = [_written(name, columns) for name in text]
    label, ids = (None if name is None else _written(name, columns) for name in (label, ids))
    _check_names(source, columns, text, label, ids)
    chosen_label = _merged(_split(columns[label] if label is not None else _guess_label(source, columns, text)))
    similar = similar_labels(chosen_label.values)
    label_map = {other: group[0] for group in similar for other in group[1:]} if merge_labels else {}
    chosen_label = _with_labels_merged(chosen_label, label_map)
    labels = _labels(source, chosen_label)
    texts = tuple(text) or _guess_text(source, columns, chosen_label.name)
    used = {*texts, chosen_label.name}
    if ids is None:
        unused = ((c.name, c.ids) for c in columns.values() if c.name not in used)
        ids = "id" if "id" in columns else guess_id(unused, rows)
    return InferredColumns(
        rows,
        texts,
        chosen_label.name,
        labels,
        tuple(chosen_label.values.get(name, 0) for name in labels),
        tuple(name for name in columns if name not in used and name != ids),
        ids or None,
        () if merge_labels else tuple(similar),
        label_map,
        labeled=chosen_label.filled,
        several=chosen_label.several,
        separator=chosen_label.separator,
    )


def _columns(source: str, table_format: TableFormat) -> tuple[int, dict[str, ColumnProfile]]:
    opened = open_source(source, "input", table_format)
    header = column_names(opened)
    if header is None:  # broken: reading it tells why
        read_table(source, ["text"], table_format=table_format)
        raise PetError(f"input: {source}: no columns were found; the first line must name them")
    found = {name: ColumnProfile(name, names=opened.class_names.get(name, ())) for name in header}
    rows = 0
    for row in whole_rows(opened, "input", numbers=False):
        rows += 1
        for name, value in row.items():
            column = found.setdefault(name, ColumnProfile(name))
            value_text = as_text(value)
            if value_text is not None:
                column.add(value_text)
            elif isinstance(value, list):
                texts = [label_text(entry) for entry in value]
                column.add_list([text for text in texts if text is not None])
            elif isinstance(value, dict):
                column.objects = True
    if not rows:
        raise PetError(f"input: {source}: is empty; it needs at least one row")
    return rows, found


def _written(name: str, columns: dict[str, ColumnProfile]) -> str:
    """Return the name of a column as the file spells it."""
    same = same_columns(name, columns)
    return same[0] if len(same) == 1 else name


def _split(column: ColumnProfile) -> ColumnProfile:
    """Return the column with the labels of its cells, if they are lists: ``["bug", "login"]``, or ``bug;login``.

    Cells with a separator are if this gives fewer values than the cells have.
    """
    if column.many or column.several:
        return column
    for separator, lists in _lists(list(column.values)):
        counts: dict[str, int] = {}
        for parts, count in zip(lists, column.values.values(), strict=True):
            for part in dict.fromkeys(parts):
                counts[part] = counts.get(part, 0) + count
        fewer = len(counts) < len(column.values) and any(len(parts) > 1 for parts in lists)
        if len(counts) >= 2 and (fewer or not separator):
            longest = max(map(len, counts))
            return replace(column, values=counts, longest=longest, several=True, separator=separator)
    return column


def _lists(cells: Sequence[str]) -> Iterator[tuple[str, list[list[str]]]]:
    """Yield the ways in which cells may be lists of labels: the separator, or an empty text for JSON, and the lists."""
    listed = [json_list(cell) for cell in cells]
    if None not in listed:
        yield "", [parts for parts in listed if parts is not None]
    decimal = all(map(_DECIMAL.fullmatch, cells))  # 1,5 in many languages
    for separator in _SEPARATORS:
        if any(separator in cell for cell in cells) and not (separator == "," and decimal):
            yield separator, [cell_parts(cell, separator) for cell in cells]


def _merged(column: ColumnProfile) -> ColumnProfile:
    """The column with values that mean the same, such as ``1`` and ``1.0``, counted as one.

    Whole numbers are written without a fraction: pandas writes ``1.0`` for ``1`` if a column has empty cells.
    """
    names = Names(column.names)
    counts: dict[str, int] = {}
    for value, count in column.values.items():
        plain = meaning(value) if _is_number(meaning(value)) else value
        first = names.add(plain) or plain
        counts[first] = counts.get(first, 0) + count
    return replace(column, values=counts)


def _with_labels_merged(column: ColumnProfile, label_map: Mapping[str, str]) -> ColumnProfile:
    counts: dict[str, int] = {}
    for value, count in column.values.items():
        label = label_map.get(value, value)
        counts[label] = counts.get(label, 0) + count
    return replace(column, values=counts, names=tuple(name for name in column.names if name not in label_map))


def _check_names(
    source: str, columns: dict[str, ColumnProfile], text: Sequence[str], label: str | None, ids: str | None
) -> None:
    asked = [("--text ", name) for name in text] + ([("--label ", label)] if label is not None else [])
    asked += [("--column id=", ids)] if ids else []
    problems = [
        f"{option}{name}: {source} has no such column{near(name, columns)}; its columns are {some(columns)}"
        + (f"; {_INSIDE}" if any(column.objects for column in columns.values()) else "")
        for option, name in asked
        if name not in columns
    ]
    problems += [f"--text {name} is given twice; give it once" for name in dict.fromkeys(text) if text.count(name) > 1]
    if label is not None and label in text:
        problems.append(f"{label} is given as both --text and --label; the labels need a column of their own")
    if problems:
        raise PetError(problems)


def _guess_label(source: str, columns: dict[str, ColumnProfile], text: Sequence[str]) -> ColumnProfile:
    candidates = [column for column in columns.values() if column.name not in text]
    named = [c for name in _LABEL_NAMES for c in candidates if c.name.strip().casefold() == name]
    if named:
        return named[0]
    likely = [c for c in candidates if c.repeats and c.longest <= LONGEST_LABEL]
    likely = likely or [c for c in map(_split, candidates) if c.several and c.repeats and c.longest <= LONGEST_LABEL]
    if not likely:
        shown = ", ".join(f"{c.name!r} ({_distinct(c)})" for c in candidates[:12])
        raise PetError(
            f"input: {source}: no column looks like labels (a few values that repeat): {shown}; "
            "name it with --label COLUMN. Without such a column, write a task file by hand, from a copy of another: "
            "`pet tasks yelp > mine.yaml`"
        )
    return min(likely, key=lambda column: len(column.values))


def _distinct(column: ColumnProfile) -> str:
    number = f"more than {MOST_LABELS}" if column.many else str(len(column.values))
    return f"{number} {'value' if number == '1' else 'values'}"


def _labels(source: str, column: ColumnProfile) -> tuple[str, ...]:
    """Return the labels, in the order of the file's class names, by number, or by name."""
    where = f"input: {source}: column {column.name!r}"
    if column.many:
        raise PetError(
            f"{where} has more than {MOST_LABELS} different values, which look like free text or numbers, not labels; "
            "name the label column with --label COLUMN"
        )
    if column.longest > LONGEST_LABEL:
        raise PetError(
            f"{where} has values of up to {column.longest:,} characters, which look like free text: a label has at "
            f"most {LONGEST_LABEL}; name the label column with --label COLUMN"
        )
    if len(column.values) < 2:
        only = f"only the value {next(iter(column.values))!r}" if column.values else "no values"
        if column.objects and not column.values:
            raise PetError(f"{where} has objects, which are no labels; name another with --label COLUMN; {_INSIDE}")
        raise PetError(f"{where} has {only}, and a task needs at least two labels; name another with --label COLUMN")
    if set(column.values) <= set(column.names):
        return column.names
    if all(_is_number(value) for value in column.values):
        return tuple(sorted(column.values, key=int))
    return tuple(sorted(column.values, key=lambda value: (value.casefold(), value)))


def _is_number(text: str) -> bool:
    return text.isascii() and text.removeprefix("-").isdigit() and len(text) < 20


def _guess_text(source: str, columns: dict[str, ColumnProfile], label: str) -> tuple[str, ...]:
    candidates = [c for c in columns.values() if c.name != label and c.filled]
    named = [c for c in candidates if c.name.strip().casefold() not in _NO_TEXT]
    by_length = sorted(named, key=lambda column: column.average_length)
    likely = [c for c in named if c.looks_like_text] or by_length[-1:]
    if not likely:
        raise PetError(f"input: {source}: no column looks like text; name it with --text COLUMN")
    longest = [c for c in by_length if c in likely][-MOST_FIELDS:]
    return tuple(c.name for c in likely if c in longest)
