"""Review in a spreadsheet instead of the page: write a table to fill in, and read it back with the same checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from pet.data.columns import Layout, label_mistake, lay_out, near, same_columns, shorten, some
from pet.data.label_codes import LabelCodes
from pet.data.label_sets import LabelSets, UnknownLabel
from pet.data.open_source import open_source
from pet.data.problems import Place, Problems
from pet.data.reviewed import LABELED, LONGEST_NOTE, UNDONE, UNSURE, VERDICTS, Decision, Label
from pet.data.row_reader import records
from pet.data.source import column_names
from pet.data.source_names import SHEETS, split_sheet
from pet.data.values import as_text
from pet.errors import PetError
from pet.review.records import write_suggestions
from pet.review.session import Review
from pet.review.suggest import columns_beside, described
from pet.spelling import Names, compose

READABLE = (".csv", ".tsv", ".jsonl", ".parquet", *SHEETS)
_OPTION = "--read"
_CELL = 32_000  # characters; spreadsheets cut longer cells
_GIVEN = tuple(verdict for verdict in VERDICTS if verdict != UNDONE)


@dataclass(frozen=True)
class ReadBack:
    """What a table said: numbers of texts with a decision that is new, that replaces another, or that was there."""

    new: int
    replaced: int
    known: int


def write_table(review: Review, output: str | Path, count: int, *, force: bool = False) -> int:
    """Write the first texts in the order of review as a table to fill in; return their number.

    Columns ``label``, ``verdict`` and ``note`` have what is decided already; see also
    `pet.review.suggest.columns_beside`.

    Raises
    ------
    PetError
        If `count` is below 1, the ending does not fit, or the file exists.
    """
    if count < 1:
        raise PetError(f"-n {count}: write at least 1 text")
    rows = np.asarray(review.suggested(count), dtype=np.int64)
    found = list(described(review.run, rows, review.doubt[rows], review.run.pool.take(rows)))
    reviewed = {name: decision for name, (_, decision) in review.ledger.decisions.final().items()}
    write_suggestions(review.task, found, output, reviewed=reviewed, force=force)
    return len(found)


def read_table_back(review: Review, source: str | Path) -> ReadBack:
    """Save the decisions in a table that `write_table` or `pet suggest` has written and people have filled in.

    Rows without label, verdict and note are not decided. A row with a label has the verdict ``labeled``.

    Raises
    ------
    PetError
        With every mistake, its line and its cure; nothing is saved then.
    """
    decisions = list(_decisions(review, source).values())
    review.ledger.sync()
    held = {decision.id: review.ledger.decisions.latest(decision.id) for decision in decisions}
    changed = [decision for decision in decisions if _said(decision) != _said(held[decision.id])]
    if changed:
        review.ledger.decide(changed, [review.ledger.decisions.changed(decision.id) for decision in changed])
    replaced = sum(held[decision.id] is not None for decision in changed)
    return ReadBack(len(changed) - replaced, replaced, len(decisions) - len(changed))


def _said(decision: Decision | tuple[int, Decision] | None) -> tuple[str, Label | None, str] | None:
    if isinstance(decision, tuple):
        decision = decision[1]
    return None if decision is None else (decision.verdict, decision.label, decision.note)


def _decisions(review: Review, source: str | Path) -> dict[str, Decision]:
    if Path(split_sheet(str(source))[0]).suffix.lower() not in READABLE:
        raise PetError(f"{_OPTION} {source}: give a file that ends in {', '.join(READABLE)}")
    again = f"write the table again with `pet review {quote(str(review.run.folder))} --format csv -o F.csv`"
    opened = open_source(source, _OPTION)
    header = column_names(opened) or []
    missing = [name for name in ("id", *review.task.fields, "label") if not same_columns(name, header)]
    if missing:
        raise PetError(f"{_OPTION}: {opened.shown}: column {shorten(missing[0])} is missing; {again}")
    lay_out(header, review.task.fields, None, {}, f"{_OPTION}: {opened.shown}", strict=True)
    layout = Layout({name: name for name in header}, None, None)
    reader = _Reader(review, Problems(opened, _OPTION), again)
    found: dict[str, Decision] = {}
    places: dict[str, Place] = {}
    for place, record in records(opened, layout, reader.problems):
        decision = reader.read(place, record)
        if decision is not None and decision.id in found:
            first = f"{opened.unit} {opened.number(places[decision.id])}"
            message = f"id {shorten(decision.id)} has a decision in {first}, too; keep one of them"
            reader.problems.add(place, "twice", message, decision.id)
        elif decision is not None:
            found[decision.id], places[decision.id] = decision, place
    reader.problems.raise_if_any()
    return found


class _Reader:
    """Turns the rows of a table into decisions; mistakes go to `problems`."""

    def __init__(self, review: Review, problems: Problems, again: str):
        self.review, self.problems, self.again = review, problems, again
        self._ids, task = Names(review.ids), review.task
        columns = columns_beside(task.fields, ("verdict", "note"))
        self._verdict, self._note = columns["verdict"], columns["note"]
        self._codes = LabelCodes(task.labels, task.label_map)
        self._sets = LabelSets(task.labels, task.label_map, task.label_separator) if task.multi_label else None

    def read(self, place: Place, record: Mapping[str, Any]) -> Decision | None:
        """Return the decision in a row; None if it has none, or a mistake."""
        label = self._given(record.get("label"))
        verdict, note = ((as_text(record.get(name)) or "").strip() for name in (self._verdict, self._note))
        if not label and not verdict:
            if note:
                message = f"has a note, but no label and no verdict; fill in one of them, such as {UNSURE}"
                self.problems.add(place, "only a note", f"{message}, or remove the note")
            return None
        decision = self._decision(place, label, verdict.lower(), note)
        name = self._ids.find(as_text(record.get("id")) or "")
        if name is None:
            shown = shorten(as_text(record.get("id")) or "")
            message = f"id {shown} is not one of the unlabeled texts of {self.review.run.folder}; {self.again}"
            self.problems.add(place, "unknown id", message, shown)
            return None
        row = self.review.rows[name]
        (values,) = self.review.texts.values([row])
        for field, text in values.items():
            if not _same(as_text(record.get(field)) or "", text):
                message = f"{field} is not the text of id {shorten(name)}; change nothing but label, {self._verdict}"
                self.problems.add(place, "text", f"{message} and {self._note}, or {self.again}", name)
                return None
        proposed = self.review.label_of(self.review.run.pool.take(np.array([row])).applies[0])
        return None if decision is None else replace(decision, id=name, fields=values, proposed=proposed)

    def _given(self, value: Any) -> Any:
        """Return what a cell says about the label. Spaces around a label are dropped, unless the task has them, too."""
        if isinstance(value, list):
            return value
        text = as_text(value) or ""
        plain = text.strip()
        found = next((one for one in (text, plain) if self._codes.find(one) is not None), None)
        if found is not None or self._sets is None or not plain:
            return plain if found is None else found
        return text  # several labels, each with its own spaces

    def _decision(self, place: Place, label: Any, verdict: str, note: str) -> Decision | None:
        if verdict and verdict not in _GIVEN:
            message = f"verdict {shorten(verdict)} is not one of {some(_GIVEN)}{near(verdict, _GIVEN)}; correct it"
            self.problems.add(place, "verdict", message, verdict)
        elif label and verdict not in ("", LABELED):
            self.problems.add(place, "both", f"has a label and the verdict {verdict}; remove one of them", verdict)
        elif not label and verdict == LABELED:
            self.problems.add(place, "no label", f"has the verdict {LABELED}, but no label; fill it in")
        elif len(note) > LONGEST_NOTE:
            self.problems.add(place, "note", f"note has {len(note)} characters; shorten it to {LONGEST_NOTE}")
        elif not label:
            return Decision("", {}, None, verdict, note)
        elif (found := self._label(place, label)) is not None:
            return Decision("", {}, found, LABELED, note)
        return None

    def _label(self, place: Place, given: Any) -> Label | None:
        """Return the label or labels of a cell, or None after a mistake."""
        labels = self.review.task.labels
        if self._sets is None:
            code = self._codes.find(as_text(given) or "")
            if code is not None:
                return str(labels[code])
            unknown = as_text(given) or ""
        else:
            try:
                found = self.review.label_of(np.array(self._sets.indicator(given)))
                if not found:
                    self.problems.add(
                        place, "label", f"names no label; write one, or none_of_these under {self._verdict}"
                    )
                return found or None
            except UnknownLabel as error:
                unknown = str(error)
            except ValueError as error:
                self.problems.add(place, "label", str(error), str(given))
                return None
        self.problems.add(place, "unknown label", label_mistake(unknown, labels, "write one of them"), unknown)
        return None


def _same(given: str, text: str) -> bool:
    """Return True if a cell has this text. Spreadsheets change line breaks and cut long cells; none can hold a NUL."""
    given, text = (" ".join(compose(one.replace("\x00", "")).split()) for one in (given, text))
    return given == text or (len(given) >= _CELL and text.startswith(given[:_CELL]))
