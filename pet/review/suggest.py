"""Suggest texts of a finished run to label next."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.data.checks import column_labels
from pet.data.pick import pick_rows
from pet.ensemble.combine import SoftLabels, SoftLabelSets
from pet.errors import PetError
from pet.numerics import log_softmax
from pet.review.choose import choose, divergence, divergence_of_decisions, margin_doubt
from pet.review.finished import FinishedRun

Array = NDArray[Any]


@dataclass(frozen=True)
class Suggestion:
    """A text to label.

    Attributes
    ----------
    id : of the text
    values : field -> text
    proposed : the label that the members merge to; labels with the separator of the task between them if a text may
        have several
    probabilities : label -> probability, most probable first
    votes : member -> its own label
    doubt : disagreement of the members in nats; see `pet.review.choose.divergence`
    labels : the proposed labels, for a text that may have several; None: it has one
    nearest : label and fields of the most similar labeled text; None without labeled texts
    """

    id: str
    values: Mapping[str, str]
    proposed: str
    probabilities: Mapping[str, float]
    votes: Mapping[str, str]
    doubt: float
    nearest: tuple[str, Mapping[str, str]] | None = None
    labels: tuple[str, ...] | None = None

    @property
    def probability(self) -> float:
        """Probability of the proposed label; of several labels, that of the least certain decision."""
        if self.labels is None:
            return self.probabilities[self.proposed]
        return min(share if label in self.labels else 1 - share for label, share in self.probabilities.items())

    def row(self) -> dict[str, Any]:
        """Return the suggestion as the row of a table; for the names of its columns see `columns_beside`."""
        label, values = self.nearest or ("", {})
        beside = {
            "proposed": self.proposed,
            "probability": round(self.probability, 4),
            "doubt": round(self.doubt, 4),
            "nearest_label": label,
            "nearest_text": " | ".join(values.values()),
        }
        columns = columns_beside(self.values, beside)
        return {"id": self.id, **self.values, **{columns[name]: value for name, value in beside.items()}}


def columns_beside(fields: Collection[str], names: Iterable[str]) -> dict[str, str]:
    """Return name -> column for values that stand beside the fields of a task in a table.

    Examples
    --------
    >>> columns_beside(["title", "note"], ["note", "doubt"])
    {'note': 'pet_note', 'doubt': 'doubt'}
    """
    columns = {}
    for name in names:
        column = name
        while column in fields:
            column = f"pet_{column}"
        columns[name] = column
    return columns


def suggest(run: FinishedRun, count: int, seed: int = 0) -> list[Suggestion]:
    """Return unlabeled texts whose labels would teach most; see `pet.review.choose`.

    Parameters
    ----------
    run : a finished run, with or without labeled texts
    count : number of texts, at least 1
    seed : random seed of the clustering

    Raises
    ------
    PetError
        If `count` is below 1, or the run has no unlabeled texts.

    Examples
    --------
    >>> from pet.review.finished import open_finished
    >>> found = suggest(open_finished("runs/reviews"), 3)
    >>> len(found), sorted(found[0].probabilities)
    (3, ['bad', 'good'])
    """
    if count < 1:
        raise PetError(f"-n {count}: suggest at least 1 text")
    rows = choose(unsure(run), run.vectors("pool"), count, seed)
    return list(described(run, rows, doubts(run)[rows], run.pool.take(rows)))


def doubts(run: FinishedRun) -> Array:
    """Return how much the members disagree about each unlabeled text: float64 array of shape (rows,).

    Untrained patterns prefer some labels whatever the text. Their mean scores are subtracted first.
    """
    scores = run.scores("pool")
    if run.task.multi_label:  # scores are relative to texts without content
        return divergence_of_decisions(scores, run.ensemble.weights)
    if _is_untrained(run):
        logs = [log_softmax(np.asarray(own, dtype=np.float64)) for own in scores]
        scores = [own - np.nanmean(own, axis=0) for own in logs]
    return divergence(scores, run.ensemble.weights)


def unsure(run: FinishedRun) -> Array:
    """Return how unsure the label of each unlabeled text is, from 0 to 1; 0 for all of them if no member was trained.

    Untrained patterns are unsure of texts that they do not understand, and labels of these teach less than others.
    """
    soft = run.pool
    if _is_untrained(run):
        return np.zeros(len(soft.probabilities))
    if isinstance(soft, SoftLabelSets):  # the least certain decision about a label
        return np.asarray(1 - np.abs(2 * soft.probabilities - 1).min(axis=1))
    return margin_doubt(soft.probabilities)


def _is_untrained(run: FinishedRun) -> bool:
    return run.settings.method == "zero-shot" or (run.generation == 0 and run.data.train is None)


def described(run: FinishedRun, rows: Array, doubt: Array, soft: SoftLabels) -> Iterator[Suggestion]:
    """Yield what is known about some unlabeled texts."""
    labels, fields, names = run.task.labels, run.task.fields, run.ensemble.names
    nearest = nearest_labeled(run, rows)
    for place, row in enumerate(pick_rows(run.texts("pool"), rows)):
        shares, votes = soft.probabilities[place], soft.votes[place]
        several = _names(run, soft.applies[place]) if isinstance(soft, SoftLabelSets) else None
        if several is None:
            proposed, named = (
                str(labels[int(soft.label[place])]),
                {name: str(labels[vote]) for name, vote in zip(names, votes.tolist(), strict=True) if vote >= 0},
            )
        else:
            proposed = run.task.label_separator.join(several)
            named = {
                name: run.task.label_separator.join(_names(run, vote > 0))
                for name, vote in zip(names, votes, strict=True)
                if (vote >= 0).all()
            }
        yield Suggestion(
            id=str(row["id"]),
            values={name: row[name] for name in fields},
            proposed=proposed,
            probabilities={str(labels[label]): float(shares[label]) for label in np.argsort(-shares, kind="stable")},
            votes=named,
            doubt=float(doubt[place]),
            nearest=nearest[place],
            labels=several,
        )


def _names(run: FinishedRun, applies: Array) -> tuple[str, ...]:
    """Return the names of the labels that apply."""
    return tuple(str(label) for label, own in zip(run.task.labels, applies, strict=True) if own)


def nearest_labeled(run: FinishedRun, rows: Array) -> list[tuple[str, Mapping[str, str]] | None]:
    """Return label and fields of the labeled text that is most similar to each of some unlabeled texts."""
    if run.data.train is None:
        return [None] * len(rows)
    similar = run.vectors("pool")[rows] @ run.vectors("train").T
    found = pick_rows(run.data.train, similar.argmax(axis=1))
    gold = column_labels(found)
    named = [
        run.task.label_separator.join(_names(run, own > 0)) if gold.ndim == 2 else str(run.task.labels[own])
        for own in gold
    ]
    return [(label, {name: row[name] for name in run.task.fields}) for label, row in zip(named, found, strict=True)]
