"""What reviewers see of a text: proposed label, probabilities, votes with filled patterns, similar labeled texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.cloze.asked import label_text
from pet.data.checks import column_labels
from pet.data.pick import pick_rows
from pet.ensemble.combine import ABSTAINS
from pet.members.kinds import read_spec
from pet.review.filled import filled
from pet.review.finished import FinishedRun
from pet.task.pattern import ANSWERS, LABEL
from pet.terminal import visible

Array = NDArray[Any]
NEAREST = 3
LONGEST = 100_000  # characters of a text that are sent to the page
_LONGEST_NEAREST = 500


@dataclass
class Texts:
    """The unlabeled texts of a run, by their row numbers.

    Attributes
    ----------
    run : the run
    vectors, train_vectors : of the unlabeled and the labeled texts; None without labeled texts
    """

    run: FinishedRun
    vectors: Array
    train_vectors: Array | None
    _groups: list[tuple[str, int | None, list[int]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._groups = list(_grouped(self.run))

    @classmethod
    def of(cls, run: FinishedRun) -> Texts:
        """Embed the texts of a run, unless it has kept their vectors."""
        return cls(run, run.vectors("pool"), None if run.data.train is None else run.vectors("train"))

    def values(self, rows: Sequence[int]) -> list[Mapping[str, str]]:
        """Return field -> text of some rows."""
        found = pick_rows(self.run.texts("pool"), rows)
        return [{name: row[name] for name in self.run.task.fields} for row in found]

    def described(self, rows: Sequence[int], reviewed: Mapping[int, Sequence[int]]) -> list[dict[str, Any]]:
        """Return what to show of some rows, in plain values; control characters in texts are shown as escapes.

        Parameters
        ----------
        rows : row numbers
        reviewed : row -> labels, of texts that reviewers have labeled
        """
        soft = self.run.pool.take(np.asarray(rows, dtype=np.int64))
        found = []
        for place, (row, values) in enumerate(zip(rows, self.values(rows), strict=True)):
            found.append(
                {
                    "row": row,
                    "fields": [[visible(name), *_cut(text)] for name, text in values.items()],
                    "proposed": np.flatnonzero(soft.applies[place]).tolist(),
                    "probabilities": [round(float(share), 4) for share in soft.probabilities[place]],
                    "members": self._votes(soft.votes[place], values),
                    "nearest": self._nearest(row, reviewed),
                }
            )
        return found

    def similar(self, row: int, among: Array, count: int) -> list[int]:
        """Return the rows that are most similar to a row, most similar first."""
        near = self.vectors[among] @ self.vectors[row]
        return [int(found) for found in among[np.argsort(-near, kind="stable")[:count]]]

    def _votes(self, votes: Array, values: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return for each pattern, and each member without one, its votes and the patterns filled with them.

        A member has one vote, or one for each label that it gives if a text may have several.
        """
        found = []
        for title, number, members in self._groups:
            own = votes[members]
            known = own[own != ABSTAINS] if own.ndim == 1 else np.nonzero(own == 1)[1]
            shown = [
                {"label": label, "votes": count, "filled": self._filled(number, label, values)}
                for label, count in Counter(known.tolist()).most_common()
            ]
            silent = own.ndim == 2 and bool((own != ABSTAINS).any()) and not shown
            found.append({"title": visible(title), "members": len(members), "votes": shown, "none": silent})
        return found

    def _filled(self, number: int | None, label: int, values: Mapping[str, str]) -> list[list[str]]:
        if number is None:
            return []
        pattern, name = self.run.task.patterns[number], self.run.task.labels[label]
        if pattern.asks:
            values = {**values, LABEL: label_text(name)}
        word = pattern.verbalizer.words[ANSWERS[1] if pattern.asks else name][0]
        return [[kind, visible(text)] for kind, text in filled(pattern.template, values, word)]

    def _nearest(self, row: int, reviewed: Mapping[int, Sequence[int]]) -> list[dict[str, Any]]:
        """Return the most similar labeled texts, from the run and from the review."""
        found: list[tuple[float, Sequence[int], Mapping[str, str], bool]] = []
        train = self.run.data.train
        if self.train_vectors is not None and train is not None:
            near = self.train_vectors @ self.vectors[row]
            best = np.argsort(-near, kind="stable")[:NEAREST].tolist()
            texts = pick_rows(train, best)
            found += [
                (float(near[at]), np.flatnonzero(gold).tolist() if gold.ndim else [int(gold)], item, False)
                for at, gold, item in zip(best, column_labels(texts), texts, strict=True)
            ]
        others = np.asarray([other for other in reviewed if other != row], dtype=np.int64)
        if len(others):
            best = self.similar(row, others, NEAREST)
            likeness = self.vectors[best] @ self.vectors[row]
            found += [
                (float(near), reviewed[other], values, True)
                for near, other, values in zip(likeness, best, self.values(best), strict=True)
            ]
        found.sort(key=lambda pair: -pair[0])
        return [
            {
                "labels": labels,
                "similarity": round(similarity, 3),
                "reviewed": is_reviewed,
                "text": visible(" | ".join(values[name] for name in self.run.task.fields)[:_LONGEST_NEAREST]),
            }
            for similarity, labels, values, is_reviewed in found[:NEAREST]
        ]


def _cut(text: str) -> tuple[str, int]:
    """Return the text to show and its length in characters."""
    return visible(text[:LONGEST]), len(text)


def _grouped(run: FinishedRun) -> Iterator[tuple[str, int | None, list[int]]]:
    """Yield the members of each pattern, and each member without a pattern: title, position of the pattern, members."""
    patterns: dict[int, list[int]] = {}
    others: list[tuple[str, int]] = []
    for place, name in enumerate(run.ensemble.names):
        spec = read_spec(run.folder / f"g{run.generation}" / name)
        if spec.pattern is not None and 0 <= spec.pattern < len(run.task.patterns):
            patterns.setdefault(spec.pattern, []).append(place)
        else:
            others.append((name, place))
    for number, places in sorted(patterns.items()):
        yield f"pattern {number + 1}", number, places
    for name, place in others:
        yield name, None, [place]
