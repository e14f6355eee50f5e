"""Columns inside nested rows, as data sets of questions and answers have them.

==================================  =====================================================================
``passage.text``                    the value ``text`` of the object ``passage``
``answers[].text``                  one row for each item of the list ``answers``
``span(text, first, last)``         characters `first` to `last` of a text, counted from 0, both included
``mark(text, word, number)``        the text with asterisks around `word`, which begins in word `number`,
                                    counted from 0; words are separated by spaces
``one_of(value, answers[].text)``   ``true`` if the value is in the list, otherwise ``false``
``before(text, WORD)``              the text before the first `WORD`, which is written as it is; all of it without one
``after(text, WORD)``               the text after the first `WORD`; nothing without one
``choose(value, A=x, B=y)``         ``x`` if the value is ``A``, and so on
==================================  =====================================================================

Arguments of functions are paths, or names of fields of the task, which have columns of their own. Several lists give
one row for each combination of their items, except that a list inside the item of another list stays with that item.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_NAME = r"[^\W\d][\w-]*(?:\[\])?"
_PATH = re.compile(rf"{_NAME}(?:\.{_NAME})*")
_CALL = re.compile(r"(\w+)\s*\((.*)\)")
# Function -> number of arguments that are paths, and an example.
_FUNCTIONS = {
    "span": (3, "span(text, first, last)"),
    "mark": (3, "mark(text, word, number)"),
    "one_of": (2, "one_of(value, list[].item)"),
    "before": (1, "before(text, WORD)"),
    "after": (1, "after(text, WORD)"),
    "choose": (1, "choose(value, A=x, B=y)"),
}

Row = Mapping[str, Any]
Steps = tuple[str, ...]  # names on the way to a value; those of lists end in []


@dataclass(frozen=True)
class Nested:
    """A value inside a row: a path, or a function of such values.

    Attributes
    ----------
    steps : the path; empty for a function
    function, arguments : name and arguments of a function
    constants : its arguments that are no paths
    """

    steps: Steps = ()
    function: str = ""
    arguments: tuple[Nested, ...] = ()
    constants: tuple[str, ...] = ()

    @property
    def roots(self) -> frozenset[str]:
        """The columns of the file that the value is in."""
        if self.steps:
            return frozenset([self.steps[0].removesuffix("[]")])
        return frozenset().union(*(argument.roots for argument in self.arguments))

    @property
    def lists(self) -> list[Steps]:
        """Paths of the lists whose items become rows, outer lists first."""
        if self.steps:
            return [self.steps[: i + 1] for i, step in enumerate(self.steps) if step.endswith("[]")]
        arguments = self.arguments[:1] if self.function == "one_of" else self.arguments
        return [path for argument in arguments for path in argument.lists]


def parse_nested(column: str, others: Mapping[str, str] | None = None) -> Nested | None:
    """Return the value that a column stands for; None if it is the plain name of a column.

    Parameters
    ----------
    column : as in the task file or in ``--column``
    others : field (or ``label``) -> column, for arguments that are names of fields

    Raises
    ------
    ValueError
        If it looks like a function but is not one.

    Examples
    --------
    >>> parse_nested("passage.text").steps
    ('passage', 'text')
    >>> parse_nested("text") is None
    True
    """
    call = _CALL.fullmatch(column.strip())
    if call is None or call[1] not in _FUNCTIONS:
        path = column.strip()
        return Nested(_steps(path)) if _PATH.fullmatch(path) and ("." in path or "[]" in path) else None
    name, texts = call[1], [text.strip() for text in call[2].split(",")]
    count, example = _FUNCTIONS[name]
    paths, constants = texts[:count], tuple(texts[count:])
    wrong = [text for text in paths if not _PATH.fullmatch(text)]
    if wrong or not _are_right(name, len(paths) == count, constants):
        what = f"{wrong[0]!r} is not a path" if wrong else "it has other arguments"
        raise ValueError(f"cannot read {column!r} ({what}); write {example}")
    arguments = []
    for text in paths:
        other = (others or {}).get(text, column)
        arguments.append(Nested(_steps(text)) if other == column else parse_nested(other) or Nested((other,)))
    return Nested((), name, tuple(arguments), constants)


def _are_right(name: str, complete: bool, constants: Sequence[str]) -> bool:
    """Whether a function has the right number of paths, and the constants that it needs."""
    if name == "choose":
        return complete and bool(constants) and all("=" in text for text in constants)
    return complete and len(constants) == (name in ("before", "after")) and all(constants)


def _steps(path: str) -> Steps:
    return tuple(path.split("."))


def unfold(row: Row, nested: Mapping[str, tuple[str, Nested]]) -> Iterator[Row]:
    """Yield the rows inside a row, with the values of nested columns as columns of their own.

    A row that has a plain value under a field's own name keeps it. Values that the row lacks are left out. Of equal
    rows that come from one row, only the first is kept.

    Parameters
    ----------
    row : a row of a file
    nested : field -> its column, and the value that the column stands for

    Examples
    --------
    >>> columns = {"q": "q.text", "answer": "q.answers[].text"}
    >>> nested = {field: (column, parse_nested(column)) for field, column in columns.items()}
    >>> rows = unfold({"q": {"text": "Who?", "answers": [{"text": "Ann"}, {"text": "Bob"}]}}, nested)
    >>> [(row["q.text"], row["q.answers[].text"]) for row in rows]
    [('Who?', 'Ann'), ('Who?', 'Bob')]
    """
    plain = {column: row[field] for field, (column, _) in nested.items() if _is_plain(row.get(field))}
    wanted = {column: value for column, value in nested.values() if column not in plain}
    lists = sorted({path for value in wanted.values() for path in value.lists}, key=lambda path: (len(path), path))
    seen = set()
    for items in _combinations(row, lists, {}):
        found = {}
        for column, value in wanted.items():
            try:
                found[column] = _value(value, row, items)
            except (LookupError, TypeError, ValueError):
                continue
        key = repr(found)
        if not lists or key not in seen:
            seen.add(key)
            yield {**row, **plain, **found}


def _is_plain(value: Any) -> bool:
    return isinstance(value, str) or not (value is None or isinstance(value, (Mapping, Sequence)))


def _combinations(row: Row, lists: Sequence[Steps], items: dict[Steps, Any]) -> Iterator[dict[Steps, Any]]:
    """Yield path of each list -> one of its items, for every combination."""
    if not lists:
        yield items
        return
    try:
        found = _walk(lists[0], row, items)
    except (LookupError, TypeError):
        found = [None]
    for item in found:
        yield from _combinations(row, lists[1:], {**items, lists[0]: item})


def _walk(steps: Steps, row: Any, items: Mapping[Steps, Any]) -> Any:
    """Return the value at a path: that of the chosen item of each list, or of all items if none was chosen."""
    value = row
    for i, step in enumerate(steps):
        if steps[: i + 1] in items:
            value = items[steps[: i + 1]]
            continue
        value = value[step.removesuffix("[]")]
        if step.endswith("[]"):
            return [_walk(steps[i + 1 :], item, {}) for item in value]
    return value


def _value(value: Nested, row: Row, items: Mapping[Steps, Any]) -> Any:
    if value.steps:
        return _walk(value.steps, row, items)
    given = [_value(argument, row, items) for argument in value.arguments]
    if value.function == "span":
        return given[0][int(given[1]) : int(given[2]) + 1]
    if value.function == "mark":
        return _marked(given[0], given[1], int(given[2]))
    if value.function == "one_of":
        return str(given[0] in given[1]).lower()
    if value.function == "choose":
        return dict(text.split("=", 1) for text in value.constants)[given[0]]
    before, _, after = given[0].partition(value.constants[0])
    return before if value.function == "before" else after


def _marked(text: str, word: str, number: int) -> str:
    """Put asterisks around `word`, which begins in the word with a number; unchanged if it is not there."""
    words = list(re.finditer(r"\S+", text))
    start = text.find(word, words[number].start()) if number < len(words) else -1
    if start < 0:
        return text
    end = start + len(word)
    return f"{text[:start]}*{word}*{text[end:]}"
