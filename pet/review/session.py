"""A review of one run: which text is next, what was decided, and how to save it."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from pet.data.pick import pick_columns
from pet.data.reviewed import LABELED, LONGEST_NOTE, UNDONE, VERDICTS, Decision, Label
from pet.errors import PetError
from pet.review.agreement import agreement
from pet.review.finished import FinishedRun
from pet.review.ledger import NAME, Ledger, Replaced
from pet.review.order import Order
from pet.review.suggest import doubts, unsure
from pet.review.texts import Texts
from pet.terminal import visible

Array = NDArray[Any]
TO_DO, ALL, DECIDED = "to_do", "all", "decided"
STATES = (TO_DO, ALL, DECIDED, *(verdict for verdict in VERDICTS if verdict != UNDONE))
LONGEST_SEARCH = 200
MOST_SIMILAR = 200
SAMPLE = 5
_KEPT_ORDERS = 8


@dataclass(frozen=True)
class Filter:
    """Which texts to show.

    Attributes
    ----------
    state : one of `STATES`
    label : position of a proposed label; None: any
    search : text that must occur in a field
    """

    state: str = TO_DO
    label: int | None = None
    search: str = ""


class Review:
    """A review of the unlabeled texts of a run.

    Parameters
    ----------
    run : the run
    output : file of the decisions; default: ``reviewed.jsonl`` in the run directory
    seed : random seed of the order

    Raises
    ------
    PetError
        If the file cannot be written, or its decisions are about texts that the run does not have.
    """

    def __init__(self, run: FinishedRun, output: str | Path | None = None, seed: int = 0):
        self.run, self.task, self.seed = run, run.task, seed
        ids = [str(name) for name in run.texts("pool")["id"][:]]
        self.rows = {name: row for row, name in enumerate(ids)}
        self.ids = ids
        self.path = run.folder / NAME if output is None else Path(output)
        self.ledger = Ledger(self.path, run.task, self._problem)
        self._orders: OrderedDict[Filter, Order] = OrderedDict()

    @cached_property
    def texts(self) -> Texts:
        """The texts, with their vectors."""
        return Texts.of(self.run)

    @cached_property
    def doubt(self) -> Array:
        """How much the members disagree about each text."""
        return doubts(self.run)

    @cached_property
    def unsure(self) -> Array:
        """How unsure the label of each text is."""
        return unsure(self.run)

    def prepare(self) -> None:
        """Compute what the first text needs, so that the page opens at once."""
        self.suggested(1)

    def about(self) -> dict[str, Any]:
        """Return what does not change during a review, in plain values."""
        described = self.task.descriptions
        return {
            "run": visible(str(self.run.folder)),
            "task": visible(self.task.name),
            "file": visible(str(self.path)),
            "labels": [[visible(label), visible(described.get(label, ""))] for label in self.task.labels],
            "several": self.task.multi_label,
            "texts": len(self.ids),
        }

    def state(self, after: int) -> dict[str, Any]:
        """Return the progress, and the decisions on lines after this one, by all writers."""
        self.ledger.sync()
        final = [decision for _, decision in self.ledger.decisions.final().values()]
        counts = Counter(decision.verdict for decision in final)
        return {
            "revision": self.ledger.revision,
            "counts": {**dict(counts), "left": len(self.ids) - len(final)},
            "agreement": agreement(final),
            "changed": [self.decision(self.rows[name]) for name in self.ledger.decisions.since(after)],
        }

    def decision(self, row: int) -> dict[str, Any]:
        """Return the decision about a row that holds, in plain values."""
        name = self.ids[row]
        held = self.ledger.decisions.latest(name)
        decision = None
        if held is not None:
            decision = {
                "verdict": held[1].verdict,
                "labels": self._positions(held[1].labels),
                "note": _valid(held[1].note),  # as it is: the page saves it again with the next decision
                "note_shown": visible(held[1].note),
            }
        return {"row": row, "line": self.ledger.decisions.changed(name), "decision": decision}

    def page(self, wanted: Filter, start: int, count: int) -> dict[str, Any]:
        """Return some texts in the order of review.

        Parameters
        ----------
        wanted : which texts
        start : where to go on: ``next`` of the page before; 0 at the beginning
        count : number of texts

        Returns
        -------
        dict
            ``items``: the texts; ``next``: where to go on, None at the end; ``total``: number of texts in this filter
        """
        self.ledger.sync()
        rows, following, total = (
            self._in_order(wanted, start, count)
            if wanted.state in (TO_DO, ALL)
            else self._latest_first(wanted, start, count)
        )
        return {"items": self.items(rows), "next": following, "total": total}

    def _in_order(self, wanted: Filter, start: int, count: int) -> tuple[list[int], int | None, int]:
        """Return rows, where to go on, and the number of texts, in the order of review."""
        order, final = self._order(wanted), self.ledger.decisions.final()
        rows: list[int] = []
        place = start
        while place < len(order) and len(rows) < count:
            row = order.at(place)
            place += 1
            if wanted.state == ALL or self.ids[row] not in final:
                rows.append(row)
        decided = 0 if wanted.state == ALL else order.number_of([self.rows[name] for name in final])
        return rows, place if place < len(order) else None, len(order) - decided

    def _latest_first(self, wanted: Filter, start: int, count: int) -> tuple[list[int], int | None, int]:
        """Return the same of texts that are decided, the latest decision first; go on before the line of the last one.

        Lines do not move when texts join or leave while somebody reads.
        """
        states = VERDICTS if wanted.state == DECIDED else (wanted.state,)
        final = reversed(self.ledger.decisions.final().items())
        matching = set(self._matching(wanted).tolist())
        lines = {self.rows[name]: line for name, (line, decision) in final if decision.verdict in states}
        found = [row for row in lines if row in matching]
        left = [row for row in found if not start or lines[row] < start]
        rows = left[:count]
        return rows, lines[rows[-1]] if rows and len(left) > len(rows) else None, len(found)

    def items(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Return what to show of some rows, with the decisions about them."""
        final = self.ledger.decisions.final().values()
        labeled = {
            self.rows[decision.id]: self._positions(decision.labels)
            for _, decision in final
            if decision.label is not None
        }
        return [{**item, **self.decision(item["row"])} for item in self.texts.described(rows, labeled)]

    def _positions(self, labels: Sequence[str]) -> list[int]:
        return [self.task.labels.index(label) for label in labels]

    def label_of(self, applies: Array) -> Label:
        """Return the label that applies; a tuple of labels if a text may have several."""
        names = tuple(label for label, own in zip(self.task.labels, applies, strict=True) if own)
        return names if self.task.multi_label else names[0]

    def decide(
        self,
        rows: Sequence[int],
        seen: Sequence[int],
        verdict: str,
        labels: Sequence[int] = (),
        note: str = "",
        others_note: str | None = None,
    ) -> list[Replaced]:
        """Save the same decision about some texts.

        Parameters
        ----------
        rows : row numbers
        seen : for each of them the last line about it that the reviewer has seen
        verdict, labels, note : the decision; the label or labels as their positions
        others_note : the note about all texts but the first; default: the same

        Returns
        -------
        list of Replaced
            Decisions of others that the reviewer had not seen.

        Raises
        ------
        PetError
            If the decision makes no sense, or cannot be saved.
        """
        self._check_rows(rows)
        if verdict not in VERDICTS or verdict == UNDONE or (not labels) == (verdict == LABELED):
            raise PetError(
                f"verdict {verdict!r} with labels {list(labels)}: choose a label, or one of {', '.join(VERDICTS[1:-1])}"
            )
        wrong = [label for label in labels if not 0 <= label < len(self.task.labels)]
        if wrong or (len(labels) > 1 and not self.task.multi_label):
            raise PetError(f"there is no label {wrong[0]}" if wrong else "a text has one label")
        given = None if not labels else self.label_of(np.isin(np.arange(len(self.task.labels)), labels))
        first, others = (_valid(one)[:LONGEST_NOTE] for one in (note, note if others_note is None else others_note))
        notes = [first, *[others] * (len(rows) - 1)]
        proposed = self.run.pool.take(np.asarray(rows, dtype=np.int64)).applies
        decisions = [
            Decision(self.ids[row], values, given, verdict, own_note, proposed=self.label_of(own))
            for row, values, own_note, own in zip(rows, self.texts.values(rows), notes, proposed, strict=True)
        ]
        return self.ledger.decide(decisions, seen)

    def undo(self, made: Mapping[int, int]) -> list[int]:
        """Take back the decisions on these lines about these rows; see `Ledger.undo`. Return the rows."""
        self._check_rows(made)
        return [self.rows[name] for name in self.ledger.undo({self.ids[row]: line for row, line in made.items()})]

    def undo_last(self, line: int) -> list[int]:
        """Take back the last decisions up to a line; see `Ledger.undo_last`. Return the rows."""
        return [self.rows[name] for name in self.ledger.undo_last(line)]

    def similar(self, row: int, count: int) -> dict[str, Any]:
        """Return texts that are similar to a text, have the same proposed labels and are not decided yet.

        More than half of the members agree with the proposed labels of each. Ask reviewers to look at ``sample``: the
        least similar text, the most doubtful one, and others at even distances.

        Returns
        -------
        dict
            ``rows``, most similar first, and ``lines`` for each; ``sample``, described
        """
        self._check_rows([row])
        soft, final = self.run.pool, self.ledger.decisions.final()
        applies = soft.applies
        alike = (applies == applies[row]).all(axis=1) & (soft.agreement > 0.5)
        alike[[self.rows[name] for name in final]] = False
        alike[row] = False
        rows = self.texts.similar(row, np.flatnonzero(alike), min(count, MOST_SIMILAR))
        sample: list[int] = []
        if rows:
            places = np.linspace(len(rows) - 1, 0, min(SAMPLE - 1, len(rows))).round().astype(int)
            sample = list(
                dict.fromkeys([rows[-1], max(rows, key=lambda at: self.doubt[at]), *(rows[i] for i in places)])
            )
        return {
            "rows": rows,
            "lines": [self.ledger.decisions.changed(self.ids[at]) for at in rows],
            "sample": self.items(sample),
        }

    def suggested(self, count: int) -> list[int]:
        """Return the first rows in the order of review, decided or not."""
        return self._order(Filter(ALL)).first(count)

    def _order(self, wanted: Filter) -> Order:
        """Return the order of the texts that match label and search of a filter, decided or not."""
        wanted = replace(wanted, state=ALL)
        if wanted not in self._orders:
            self._orders[wanted] = Order(self._matching(wanted), self.unsure, self.texts.vectors, self.seed)
            if len(self._orders) > _KEPT_ORDERS:
                self._orders.popitem(last=False)
        self._orders.move_to_end(wanted)
        return self._orders[wanted]

    def _matching(self, wanted: Filter) -> Array:
        """Return the rows that match label and search of a filter."""
        chosen = np.ones(len(self.ids), dtype=bool)
        if wanted.label is not None:
            chosen &= self.run.pool.applies[:, wanted.label]
        if wanted.search:
            table = pick_columns(self.run.texts("pool"), self.task.fields).with_format("arrow")[:]
            found = np.zeros(len(self.ids), dtype=bool)
            for name in self.task.fields:
                found |= pc.match_substring(table[name], wanted.search, ignore_case=True).to_numpy()
            chosen &= found
        return np.flatnonzero(chosen)

    def _check_rows(self, rows: Iterable[int]) -> None:
        wrong = [row for row in rows if not 0 <= row < len(self.ids)]
        if wrong:
            raise PetError(f"there is no text {wrong[0]}; the run has {len(self.ids)}")

    def _problem(self, decision: Decision) -> str | None:
        """Return what is wrong with a decision in the file."""
        row = self.rows.get(decision.id)
        cure = "use the file of this run, or name another one with -o"
        if row is None:
            return f"id {decision.id[:60]!r} is not one of the unlabeled texts of {self.run.folder}; {cure}"
        if dict(decision.fields) != {name: self.run.texts("pool")[row][name] for name in self.task.fields}:
            return f"the text with id {decision.id[:60]!r} is another one in {self.run.folder}; {cure}"
        return None


def _valid(note: str) -> str:
    """Return a note without lone surrogates, which cannot be written as UTF-8."""
    return note.encode("utf-8", "replace").decode()
