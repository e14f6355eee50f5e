"""What people said about texts: ``reviewed.jsonl``, one decision on each line.

The last decision about a text counts. A line with the verdict ``undone`` takes back the decision before it, and the one
before that counts again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

from pet.data.columns import near, some
from pet.errors import PetError
from pet.resources import expand
from pet.spelling import Names
from pet.store.disk import disk_errors
from pet.store.json_reader import parse_json
from pet.store.schema import Check, list_of, mapping_of, maybe, record, text
from pet.store.shared_lines import decoded, is_complete
from pet.task.task import Task

LABELED, NONE_OF_THESE, UNSURE, SKIPPED, UNDONE = "labeled", "none_of_these", "unsure", "skipped", "undone"
VERDICTS = (LABELED, NONE_OF_THESE, UNSURE, SKIPPED, UNDONE)
LONGEST_NOTE = 10_000
_LONGEST_TEXT = 100_000_000
_MOST_PROBLEMS = 10
CURE = "correct the line or remove it"
_BEGIN = b'{"id": '  # of every line that `Decision.to_json` returns
_OWN = "or use the file of a run of this task"
Label = str | tuple[str, ...]  # a tuple, in the order of the task, if a text may have several labels


def _label(value: Any, place: str) -> Iterator[str]:
    return (list_of(text()) if isinstance(value, list) else text())(value, place)


LINE: Check = record(
    {
        "id": text(_LONGEST_TEXT),
        "fields": mapping_of(text(_LONGEST_TEXT)),
        "label": maybe(_label),
        "verdict": text(choices=VERDICTS),
    },
    {"note": text(LONGEST_NOTE), "time": text(100), "proposed": maybe(_label)},
)


@dataclass(frozen=True)
class Decision:
    """What somebody said about one text.

    Attributes
    ----------
    id : of the text
    fields : field -> text, as it was shown
    label : of the task; None unless the verdict is ``labeled``. If a text may have several, at least one of them; a
        text without a label has the verdict ``none_of_these``
    verdict : one of `VERDICTS`
    note : free text
    time : ISO 8601, UTC
    proposed : label that the run proposed; labels, and maybe none, if a text may have several
    """

    id: str
    fields: Mapping[str, str]
    label: Label | None
    verdict: str
    note: str = ""
    time: str = ""
    proposed: Label | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The label or labels; empty without any."""
        return named(self.label)

    def to_json(self) -> str:
        """Return the line of the file, without its line break."""
        return json.dumps(asdict(self), ensure_ascii=False)


def named(label: Label | None) -> tuple[str, ...]:
    """Return a label or labels as a tuple."""
    return () if label is None else (label,) if isinstance(label, str) else label


class Decisions:
    """The decisions about each text, in the order of the file.

    Examples
    --------
    >>> decisions = Decisions()
    >>> decisions.add(1, Decision("a", {}, "good", "labeled"))
    >>> decisions.add(2, Decision("a", {}, None, "unsure"))
    >>> decisions.add(3, Decision("a", {}, None, "undone"))
    >>> decisions.latest("a")[1].label
    'good'
    """

    def __init__(self) -> None:
        self._of: dict[str, list[tuple[int, Decision]]] = {}
        self._changed: dict[str, int] = {}  # text -> its last line

    def add(self, number: int, decision: Decision) -> None:
        """Add the decision on a line; the numbers must ascend."""
        held = self._of.setdefault(decision.id, [])
        self._changed[decision.id] = number
        if decision.verdict != UNDONE:
            held.append((number, decision))
        elif held:
            held.pop()

    def latest(self, name: str) -> tuple[int, Decision] | None:
        """Return line and decision that hold for a text, or None."""
        held = self._of.get(name)
        return held[-1] if held else None

    def changed(self, name: str) -> int:
        """Return the last line about a text; 0 if there is none."""
        return self._changed.get(name, 0)

    def final(self) -> dict[str, tuple[int, Decision]]:
        """Return text -> line and decision that hold, sorted by line."""
        found = [held[-1] for held in self._of.values() if held]
        return {decision.id: (number, decision) for number, decision in sorted(found, key=lambda pair: pair[0])}

    def since(self, number: int) -> list[str]:
        """Return the texts with lines after this one."""
        return [name for name, last in self._changed.items() if last > number]


def is_review(columns: Collection[str]) -> bool:
    """Return True if a table with these columns is a ``reviewed.jsonl``."""
    return {"id", "fields", "label", "verdict"} <= set(columns)


def is_foreign(lines: Iterable[bytes]) -> bool:
    """Return True if no line of a file is a decision, whatever is wrong with it, or the beginning of the first one.

    Parameters
    ----------
    lines : of the file, with their line breaks
    """
    blank = True
    for line in lines:
        text = line.strip(b"\0 \t\r\n")  # after a power failure, zeros may stand for what was written
        torn = blank and not line.endswith(b"\n") and _BEGIN.startswith(text[: len(_BEGIN)])
        if text and (_has_decision(text) or (torn and not is_complete(text))):
            return False
        blank = blank and not text
    return not blank


def _has_decision(line: bytes) -> bool:
    try:
        found = parse_json(line.decode("utf-8"), "", "")
    except (UnicodeDecodeError, PetError):
        return False
    return isinstance(found, dict) and is_review(found)


def read_reviewed(path: str | Path, task: Task) -> dict[str, Decision]:
    """Read the decisions that hold at the end of a ``reviewed.jsonl``.

    A last line that was not written to its end is left out: nobody was told that it is saved.

    Parameters
    ----------
    path : the file
    task : the task of the run

    Returns
    -------
    dict
        Id of a text -> decision, in the order of their lines. Its verdict is never ``undone``; texts that were skipped,
        or about which somebody was unsure, are there, too.

    Raises
    ------
    PetError
        If the file cannot be read, or with the first mistakes in it: file, line, and cure.
    """
    return decisions_in(review_content(path), path, task)


def decisions_in(content: bytes, path: str | Path, task: Task) -> dict[str, Decision]:
    """Return the decisions in the content of a ``reviewed.jsonl``; see `read_reviewed`. Messages name `path`."""
    return _parsed(content, path, LineParser(task.labels, task.fields, several=task.multi_label))


def reviewed_labels(path: str | Path, labels: Sequence[str]) -> list[str]:
    """Return the labels of the decisions that hold at the end of a ``reviewed.jsonl``, whatever fields its texts have.

    Raises
    ------
    PetError
        If the file cannot be read, or with the first mistakes in it: file, line, and cure.
    """
    found = _parsed(review_content(path), path, LineParser(labels))
    return [label for decision in found.values() for label in decision.labels]


def review_content(path: str | Path) -> bytes:
    """Return the content of a ``reviewed.jsonl``, which others may append to later.

    Raises
    ------
    PetError
        If the file cannot be read, or is none.
    """
    place = expand(path)
    if not place.is_file():
        raise PetError(f"{path}: no such file; `pet review RUN` writes one")
    with disk_errors(f"read {path}", paths=True):
        content = place.read_bytes()
    if is_foreign(BytesIO(content)):
        raise PetError(
            f"{path}: is not a file of decisions that `pet review` has written; a table that was filled in becomes one "
            "with `pet review RUN --read F`, and other labeled texts are given with --train F"
        )
    return content


def _parsed(content: bytes, path: str | Path, parse: LineParser) -> dict[str, Decision]:
    *lines, tail = content.split(b"\n")
    lines += [tail] if is_complete(tail) else []
    decisions = Decisions()
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        try:
            text = decoded(line, f"{path}:{number}").strip()
            if text:
                decisions.add(number, parse(text, f"{path}:{number}"))
        except PetError as error:
            problems += error.problems
            if len(problems) >= _MOST_PROBLEMS:
                break
    if problems:
        raise PetError(problems)
    return {name: decision for name, (_, decision) in decisions.final().items()}


class LineParser:
    """Parses and checks lines: ``parse(line, place)`` returns a `Decision` or raises a `PetError`.

    Parameters
    ----------
    labels : of the task
    fields : of the task; None: any
    several : whether a text may have several labels
    """

    def __init__(self, labels: Sequence[str], fields: Collection[str] | None = None, *, several: bool = False):
        self.labels, self.fields, self.several = labels, fields, several
        self._names = Names(labels)

    def __call__(self, line: str, place: str) -> Decision:
        found: dict[str, Any] = parse_json(line, place, CURE, LINE)
        known = {name: found[name] for name in Decision.__dataclass_fields__ if name in found}
        for name in ("label", "proposed"):
            if isinstance(known.get(name), list):
                known[name] = tuple(known[name])
        decision = Decision(**known | {"label": known.get("label") or None})
        problems = list(self._problems(decision))
        if problems:
            raise PetError([f"{place}: {problem}" for problem in problems])
        labels = {self._names.find(label) for label in decision.labels}
        own = tuple(label for label in self.labels if label in labels)
        return replace(decision, label=None if decision.label is None else own if self.several else own[0])

    def _problems(self, decision: Decision) -> Iterator[str]:
        if decision.label is not None and isinstance(decision.label, str) == self.several:
            yield f"label is {'one text' if self.several else 'a list'}; use the file of a run of this task"
        elif decision.verdict == LABELED and not decision.label:
            yield f"has the verdict {LABELED}, but no label; {CURE}"
        if decision.verdict != LABELED and decision.label is not None:
            yield f"has a label, but the verdict {decision.verdict}, which has none; {CURE}"
        for label in decision.labels:
            if self._names.find(label) is None:
                hint = near(label, self.labels)
                yield f"label {label[:60]!r} is not one of the task's labels: {some(self.labels)}{hint}; {CURE}, {_OWN}"
        if self.fields is not None and set(decision.fields) != set(self.fields):
            given, own = some(decision.fields), some(self.fields)
            yield f"has the fields {given}, but the task has {own}; use the file of this run"
