"""A first look at a file whose columns nobody has named: which hold text, and which the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pet.data.columns import as_text, near, some
from pet.data.open_source import open_source
from pet.data.read import read_table
from pet.data.rows import whole_rows
from pet.data.source import column_names
from pet.errors import PetError

MOST_LABELS = 200
LONGEST_LABEL = 100  # characters; a label is a name
MOST_FIELDS = 3
_LABEL_NAMES = (
    "label", "labels", "class", "category", "target", "topic", "intent", "sentiment", "emotion", "stars",
    "rating", "score", "answer", "y", "tag", "type", "coarse_label", "label_text",
)  # fmt: skip
_NO_TEXT = (
    "id",
    "idx",
    "index",
    "guid",
    "uid",
    "uuid",
    "url",
    "date",
    "time",
    "timestamp",
    "source",
    "author",
    "user",
)


@dataclass
class Column:
    """What is in a column.

    Attributes
    ----------
    name : as the file has it
    filled : rows with a value that is not blank
    words, characters : of all values together
    values : the distinct values and how often each is there; no more are counted than are needed to see
        that they are too many
    longest : characters of the longest value
    names : of the classes, in order, where the file itself knows them
    """

    name: str
    filled: int = 0
    words: int = 0
    characters: int = 0
    longest: int = 0
    values: dict[str, int] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    def add(self, text: str) -> None:
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
        """Whether there are more distinct values than a task has labels."""
        return len(self.values) > MOST_LABELS

    @property
    def repeats(self) -> bool:
        """Whether values come again and again, as labels do."""
        return not self.many and 2 <= len(self.values) <= self.filled / 2

    @property
    def looks_like_text(self) -> bool:
        """Several words a value (or many characters: not every script has spaces), seldom the same."""
        if not self.filled or self.repeats:
            return False
        return self.words / self.filled >= 2.5 or (self.characters / self.filled >= 12 and not self._ascii)

    @property
    def _ascii(self) -> bool:
        return all(value.isascii() for value in self.values)


@dataclass(frozen=True)
class Survey:
    """Columns of a file, and which of them are what.

    Attributes
    ----------
    rows : of the file
    text : columns of the texts
    label : column of the labels
    labels : its values, in order
    counts : rows of each label
    others : the columns that are neither
    """

    rows: int
    text: tuple[str, ...]
    label: str
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    others: tuple[str, ...]


def survey(source: str, *, text: Sequence[str] = (), label: str | None = None) -> Survey:
    """Look through a file and tell its text columns and its labels.

    Parameters
    ----------
    source : as `pet.data.read.read_table` takes it
    text, label : columns; what is not named is guessed

    Raises
    ------
    PetError
        If the file cannot be read, a named column is not there, no column looks right, or the labels are
        too many, too few or too long.
    """
    rows, columns = _columns(source)
    _check_names(source, columns, text, label)
    chosen_label = columns[label] if label is not None else _guess_label(source, columns, text)
    labels = _labels(source, chosen_label)
    texts = tuple(text) or _guess_text(source, columns, chosen_label.name)
    used = {*texts, chosen_label.name}
    return Survey(
        rows,
        texts,
        chosen_label.name,
        labels,
        tuple(chosen_label.values.get(name, 0) for name in labels),
        tuple(name for name in columns if name not in used),
    )


def _columns(source: str) -> tuple[int, dict[str, Column]]:
    opened = open_source(source, "input")
    header = column_names(opened)
    if header is None:  # broken: reading it says why
        read_table(source, ["text"])
        raise PetError(f"input: {source}: no columns were found; the first line must name them")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise PetError(f"input: {source}: there is more than one column {some(twice)}; rename one of them")
    found = {name: Column(name, names=opened.class_names.get(name, ())) for name in header}
    rows = 0
    for row in whole_rows(opened, "input", numbers=False):
        rows += 1
        for name, value in row.items():
            column = found.setdefault(name, Column(name))
            value_text = as_text(value)
            if value_text is not None:
                column.add(value_text)
    if not rows:
        raise PetError(f"input: {source}: is empty; it needs at least one example")
    return rows, found


def _check_names(source: str, columns: dict[str, Column], text: Sequence[str], label: str | None) -> None:
    asked = [("--text", name) for name in text] + ([("--label", label)] if label is not None else [])
    problems = [
        f"{option} {name}: {source} has no such column{near(name, columns)}; there are {some(columns)}"
        for option, name in asked
        if name not in columns
    ]
    problems += [f"--text {name} is given twice; give it once" for name in dict.fromkeys(text) if text.count(name) > 1]
    if label is not None and label in text:
        problems.append(f"{label} is both --text and --label; the labels must have a column of their own")
    if problems:
        raise PetError(problems)


def _guess_label(source: str, columns: dict[str, Column], text: Sequence[str]) -> Column:
    open_to = [column for column in columns.values() if column.name not in text]
    named = [c for name in _LABEL_NAMES for c in open_to if c.name.strip().casefold() == name]
    if named:
        return named[0]
    likely = [c for c in open_to if c.repeats and c.longest <= LONGEST_LABEL]
    if not likely:
        shown = ", ".join(f"{c.name!r} ({_distinct(c)})" for c in list(open_to)[:12])
        raise PetError(
            f"input: {source}: no column looks like labels, a few values that come again and again: {shown}; "
            "name it with --label COLUMN"
        )
    return min(likely, key=lambda column: len(column.values))


def _distinct(column: Column) -> str:
    number = f"more than {MOST_LABELS}" if column.many else str(len(column.values))
    return f"{number} {'value' if number == '1' else 'values'}"


def _labels(source: str, column: Column) -> tuple[str, ...]:
    """The labels in order: as the file names its classes, by number, or by name."""
    where = f"input: {source}: column {column.name!r}"
    if column.many:
        raise PetError(
            f"{where} has more than {MOST_LABELS} different values: that looks like free text or numbers, "
            "not labels; name another one with --label COLUMN"
        )
    if column.longest > LONGEST_LABEL:
        raise PetError(
            f"{where} has values of up to {column.longest:,} characters: that looks like free text, and a "
            f"label has {LONGEST_LABEL} at most; name another one with --label COLUMN"
        )
    if len(column.values) < 2:
        only = f"only the value {next(iter(column.values))!r}" if column.values else "no values"
        raise PetError(
            f"{where} has {only}, and a task needs two labels at least; name another one with --label COLUMN"
        )
    if set(column.values) <= set(column.names):
        return column.names
    if all(_is_number(value) for value in column.values):
        return tuple(sorted(column.values, key=int))
    return tuple(sorted(column.values, key=lambda value: (value.casefold(), value)))


def _is_number(text: str) -> bool:
    return text.isascii() and text.removeprefix("-").isdigit() and len(text) < 20


def _guess_text(source: str, columns: dict[str, Column], label: str) -> tuple[str, ...]:
    open_to = [c for c in columns.values() if c.name != label and c.filled]
    named = [c for c in open_to if c.name.strip().casefold() not in _NO_TEXT]
    likely = [c for c in named if c.looks_like_text] or sorted(named, key=_length)[-1:]
    if not likely:
        raise PetError(f"input: {source}: no column looks like text; name it with --text COLUMN")
    longest = sorted(likely, key=_length)[-MOST_FIELDS:]
    return tuple(c.name for c in likely if c in longest)


def _length(column: Column) -> float:
    return column.characters / column.filled
