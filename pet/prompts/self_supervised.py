"""Labeled examples out of unlabeled text, whose labels are right by construction, and the tasks that they are of.

The formats are those of PPT (Gu et al. 2021, arXiv 2109.04332): pairs of sentences, single sentences, multiple choice,
and one unified format, into which every task can be cast.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.errors import PetError
from pet.task.task import Task

Array = NDArray[Any]
Document = Sequence[str]  # its sentences
Examples = tuple[list[tuple[str, ...]], Array]  # the fields of each row, and its label as a position

PAIR_LABELS = ("other", "same", "next")
PAIR_WORDS = ("no", "maybe", "yes")
GRADES = ("terrible", "bad", "okay", "good", "great")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TRIES = 100
_END = re.compile(r"(?<=[.!?…])\s+|(?<=[.!?…][\"')\]])\s+|(?<=[。！？])")


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, which is cut behind ``.``, ``!`` and ``?``; an abbreviation ends one, too."""
    return [part.strip() for part in _END.split(text) if part and part.strip()]


# --- rows --------------------------------------------------------------------------------------------


def pair_examples(documents: Sequence[Document], count: int, generator: np.random.Generator) -> Examples:
    """Pairs of sentences, labeled by where the second comes from.

    The labels take turns: 0, another document; 1, the same document, but not next to the first; 2, the sentence right
    behind the first (the three-way next sentence prediction of PPT).

    Parameters
    ----------
    documents : each as its sentences
    count : rows to make
    generator : the source of chance

    Raises
    ------
    PetError
        When there are not enough documents, or none with three sentences.
    """
    corpus = _Corpus(documents, generator)
    corpus.check(2, 3)
    make = (corpus.from_another, corpus.far_away, corpus.behind)
    return [make[i % 3]() for i in range(count)], np.arange(count) % 3


def choice_examples(
    documents: Sequence[Document], options: int, count: int, generator: np.random.Generator
) -> Examples:
    """A sentence, and several of which one is the next: ``(query, option, option, ...)``.

    One of the wrong ones is of the same document, but not next to the query, where there is such a sentence; the others
    are of other documents (as in PPT). The right place moves on by one with each row.

    Parameters
    ----------
    options : sentences to choose from, 2 to 26

    Returns
    -------
    rows, and the place of the right sentence in each
    """
    if not 2 <= options <= len(LETTERS):
        raise PetError(f"--options {options}: it can be 2 to {len(LETTERS)}")
    corpus = _Corpus(documents, generator)
    corpus.check(2, 2)
    rows = []
    for number in range(count):
        query, right, wrong = corpus.question(options - 1)
        place = number % options
        rows.append((query, *wrong[:place], right, *wrong[place:]))
    return rows, np.arange(count) % options


class _Corpus:
    """Draws sentences."""

    def __init__(self, documents: Sequence[Document], generator: np.random.Generator):
        self.documents = [list(document) for document in documents if document]
        self.long = {least: [d for d in self.documents if len(d) >= least] for least in (2, 3)}
        self.generator = generator

    def check(self, documents: int, sentences: int) -> None:
        longest = max(map(len, self.documents), default=0)
        if len(self.documents) < documents or longest < sentences:
            raise PetError(
                f"the text has {len(self.documents)} documents, the longest of {longest} sentences; this needs "
                f"{documents} of them and {sentences} sentences in one; give more text, or see --document"
            )

    def _one(self, documents: Sequence[list[str]]) -> list[str]:
        return documents[self._place(len(documents))]

    def _place(self, count: int) -> int:
        return int(self.generator.integers(count))

    def behind(self) -> tuple[str, str]:
        document = self._one(self.long[2])
        place = self._place(len(document) - 1)
        return document[place], document[place + 1]

    def far_away(self) -> tuple[str, str]:
        for _ in range(_TRIES):
            document = self._one(self.long[3])
            place = self._place(len(document))
            found = self._far(document, place)
            if found is not None:
                return document[place], found
        raise PetError("the documents say the same again and again: no sentence is far from another; give other text")

    def from_another(self) -> tuple[str, str]:
        document = self._one(self.documents)
        return document[self._place(len(document))], self._elsewhere(document, [])

    def question(self, wrong: int) -> tuple[str, str, list[str]]:
        """A sentence, the next one, and so many wrong ones, all different, in a random order."""
        document = self._one(self.long[2])
        place = self._place(len(document) - 1)
        far = self._far(document, place)
        found = [] if far is None else [far]
        while len(found) < wrong:
            found.append(self._elsewhere(document, found))
        order = self.generator.permutation(len(found))
        return document[place], document[place + 1], [found[i] for i in order]

    def _far(self, document: list[str], place: int) -> str | None:
        """A sentence of a document that is no neighbour, nor has a neighbour's words; None where there is none."""
        near = document[max(0, place - 1) : place + 2]
        far = [text for i, text in enumerate(document) if abs(i - place) > 1 and text not in near]
        return far[self._place(len(far))] if far else None

    def _elsewhere(self, document: list[str], taken: list[str]) -> str:
        """A sentence of another document, which neither this one nor the list has."""
        for _ in range(_TRIES):
            other = self._one(self.documents)
            text = other[self._place(len(other))]
            if other is not document and text not in document and text not in taken:
                return text
        raise PetError("the documents have too many sentences in common; give more, or other text")


def surest(probabilities: Array, per_label: int) -> tuple[Array, Array]:
    """The texts that are labeled most surely, as many of each label as there are, at most `per_label`.

    Parameters
    ----------
    probabilities : shape (rows, L)

    Returns
    -------
    rows : int64, in the order of the labels, the surest of each first
    labels : int64, of the same shape
    """
    best = probabilities.argmax(axis=1)
    rows = []
    for label in range(probabilities.shape[1]):
        found = np.flatnonzero(best == label)
        order = np.argsort(-probabilities[found, label], kind="stable")
        rows.append(found[order[:per_label]])
    counts = [len(found) for found in rows]
    return np.concatenate(rows), np.repeat(np.arange(len(rows)), counts)


def as_choice(queries: Sequence[str], words: Sequence[str], labels: Array, generator: np.random.Generator) -> Examples:
    """Texts with labels as a choice among the labels' words, which stand in another order in each row.

    Returns
    -------
    rows ``(query, word, word, ...)``, and the place of the right word in each
    """
    rows, places = [], []
    for query, label in zip(queries, labels, strict=True):
        order = generator.permutation(len(words))
        rows.append((query, *(words[i] for i in order)))
        places.append(int(np.flatnonzero(order == label)[0]))
    return rows, np.asarray(places, dtype=np.int64)


# --- tasks -------------------------------------------------------------------------------------------


def pair_task(words: Sequence[str] = PAIR_WORDS, *, at_end: bool = False) -> Task:
    """Pairs of sentences: ``{first} {mask}. {second}``, with a word for each of `PAIR_LABELS`.

    `at_end` puts the mask behind both of them, for models that fill in nothing else.
    """
    return Task.from_dict(
        {
            "task": "ppt-pair",
            "fields": ["first", "second"],
            "labels": list(PAIR_LABELS),
            "verbalizer": dict(zip(PAIR_LABELS, words, strict=True)),
            "patterns": ["{first} {second} Do they go together? {mask}." if at_end else "{first} {mask}. {second}"],
        }
    )


def single_task(*, at_end: bool = False) -> Task:
    """Single sentences with one of five grades, as in PPT; `at_end`: without the pattern that begins with the mask."""
    return Task.from_dict(
        {
            "task": "ppt-single",
            "fields": ["text"],
            "labels": list(GRADES),
            "verbalizer": {grade: grade for grade in GRADES},
            "patterns": ["{text} It was {mask}."] + ["It was {mask}. {text}"] * (not at_end),
        }
    )


def choice_task(options: int, name: str = "ppt-choice") -> Task:
    """A query and its options: ``{query} A. {a} B. {b} The answer is {mask}.``"""
    letters = LETTERS[:options]
    return Task.from_dict(
        {
            "task": name,
            "fields": ["query", *letters.lower()],
            "labels": list(letters),
            "verbalizer": {letter: letter for letter in letters},
            "patterns": [_frame("{query}", [f"{{{letter.lower()}}}" for letter in letters])],
        }
    )


def _frame(query: str, options: Sequence[str]) -> str:
    listed = " ".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))
    return f"{query} {listed} The answer is {{mask}}."


def unified_task(task: Task) -> Task:
    """A task in the unified format: its input, its labels' words as options, and letters in the blank.

    It has one pattern, with the first word of each label in the task's first pattern, in the order of the labels. For
    members that start from a prompt pretrained with ``--format unified``.

    Raises
    ------
    PetError
        When there are more labels than letters.
    """
    if len(task.labels) > len(LETTERS):
        raise PetError(f"{task.name} has {len(task.labels)} labels, and the unified format has {len(LETTERS)} letters")
    words = [task.patterns[0].verbalizer.words[label][0] for label in task.labels]
    plain = [word.replace("{", "{{").replace("}", "}}") for word in words]
    return Task.from_dict(
        {
            **task.to_dict(),
            "task": f"{task.name}-unified",
            "verbalizer": {label: [letter] for label, letter in zip(task.labels, LETTERS, strict=False)},
            "patterns": [_frame(task.input.source, plain)],
        }
    )
