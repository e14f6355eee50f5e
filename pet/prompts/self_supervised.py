"""Self-supervised tasks: labeled examples created from unlabeled text.

The formats are those of PPT (Gu et al. 2021, arXiv 2109.04332): sentence pairs, single sentences, multiple choice,
and a unified format to which every task can be converted.
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
Document = Sequence[str]  # sentences
Examples = tuple[list[tuple[str, ...]], Array]  # the fields of each row, and its label index

PAIR_LABELS = ("other", "same", "next")
PAIR_WORDS = ("no", "maybe", "yes")
GRADES = ("terrible", "bad", "okay", "good", "great")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TRIES = 100
_END = re.compile(r"(?<=[.!?…])\s+|(?<=[.!?…][\"')\]])\s+|(?<=[。！？])")


def split_sentences(text: str) -> list[str]:
    """Split a text into sentences after ``.``, ``!`` and ``?`` (also after abbreviations).

    Examples
    --------
    >>> split_sentences("It rains. Does it? Yes!")
    ['It rains.', 'Does it?', 'Yes!']
    """
    return [part.strip() for part in _END.split(text) if part and part.strip()]


# --- rows --------------------------------------------------------------------------------------------


def pair_examples(documents: Sequence[Document], count: int, generator: np.random.Generator) -> Examples:
    """Create sentence pairs, labeled by the origin of the second sentence.

    Labels alternate: 0, another document; 1, the same document, but not adjacent; 2, the next sentence (the
    three-way next sentence prediction of PPT).

    Parameters
    ----------
    documents : documents as lists of sentences
    count : number of rows
    generator : random generator

    Raises
    ------
    PetError
        If there are not enough documents, or none with three sentences.
    """
    corpus = _Corpus(documents, generator)
    corpus.check(2, 3)
    make = (corpus.other_document, corpus.same_document, corpus.next_sentence)
    return [make[i % 3]() for i in range(count)], np.arange(count) % 3


def choice_examples(
    documents: Sequence[Document], options: int, count: int, generator: np.random.Generator
) -> Examples:
    """Create multiple-choice rows: a sentence, and options of which one is the next sentence.

    One wrong option is from the same document but not adjacent to the query, if there is such a sentence; the others
    are from other documents (as in PPT). The position of the correct option advances by one with each row.

    Parameters
    ----------
    documents : documents as lists of sentences
    options : number of options, 2 to 26
    count : number of rows
    generator : random generator

    Returns
    -------
    rows ``(query, option, option, ...)``, and the index of the correct option in each
    """
    if not 2 <= options <= len(LETTERS):
        raise PetError(f"--options {options} is out of range; it must be 2 to {len(LETTERS)}")
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
                f"the text has {len(self.documents)} documents, the longest with {longest} sentences; this format "
                f"needs at least {documents} documents, one with {sentences} sentences; give more text (see also "
                "--document)"
            )

    def _one(self, documents: Sequence[list[str]]) -> list[str]:
        return documents[self._place(len(documents))]

    def _place(self, count: int) -> int:
        return int(self.generator.integers(count))

    def next_sentence(self) -> tuple[str, str]:
        document = self._one(self.long[2])
        place = self._place(len(document) - 1)
        return document[place], document[place + 1]

    def same_document(self) -> tuple[str, str]:
        for _ in range(_TRIES):
            document = self._one(self.long[3])
            place = self._place(len(document))
            found = self._far(document, place)
            if found is not None:
                return document[place], found
        raise PetError(
            "the documents are too repetitive: no two sentences differ and are not adjacent; give other text"
        )

    def other_document(self) -> tuple[str, str]:
        document = self._one(self.documents)
        return document[self._place(len(document))], self._elsewhere(document, [])

    def question(self, wrong: int) -> tuple[str, str, list[str]]:
        """Return a sentence, the next one, and `wrong` distinct wrong ones in random order."""
        document = self._one(self.long[2])
        place = self._place(len(document) - 1)
        far = self._far(document, place)
        found = [] if far is None else [far]
        while len(found) < wrong:
            found.append(self._elsewhere(document, found))
        order = self.generator.permutation(len(found))
        return document[place], document[place + 1], [found[i] for i in order]

    def _far(self, document: list[str], place: int) -> str | None:
        """Return a sentence that is neither adjacent nor equal to an adjacent one; None if there is none."""
        near = document[max(0, place - 1) : place + 2]
        far = [text for i, text in enumerate(document) if abs(i - place) > 1 and text not in near]
        return far[self._place(len(far))] if far else None

    def _elsewhere(self, document: list[str], taken: list[str]) -> str:
        """Return a sentence from another document that is neither in this document nor in `taken`."""
        for _ in range(_TRIES):
            other = self._one(self.documents)
            text = other[self._place(len(other))]
            if other is not document and text not in document and text not in taken:
                return text
        raise PetError("the documents share too many sentences; give more text, or other text")


def most_confident(probabilities: Array, per_label: int) -> tuple[Array, Array]:
    """Select the most confidently labeled texts, up to `per_label` per label.

    Parameters
    ----------
    probabilities : shape (rows, L)
    per_label : maximum number of texts per label

    Returns
    -------
    rows : int64 array, in label order, the most confident first
    labels : int64 array of the same shape
    """
    best = probabilities.argmax(axis=1)
    rows = []
    for label in range(probabilities.shape[1]):
        found = np.flatnonzero(best == label)
        order = np.argsort(-probabilities[found, label], kind="stable")
        rows.append(found[order[:per_label]])
    counts = [len(found) for found in rows]
    return np.concatenate(rows), np.repeat(np.arange(len(rows)), counts)


def to_choices(queries: Sequence[str], words: Sequence[str], labels: Array, generator: np.random.Generator) -> Examples:
    """Convert labeled texts to multiple choice among the label words, shuffled in each row.

    Parameters
    ----------
    queries : texts
    words : one word per label
    labels : int array, label indexes of the texts
    generator : random generator

    Returns
    -------
    rows ``(query, word, word, ...)``, and the index of the correct word in each
    """
    rows, places = [], []
    for query, label in zip(queries, labels, strict=True):
        order = generator.permutation(len(words))
        rows.append((query, *(words[i] for i in order)))
        places.append(int(np.flatnonzero(order == label)[0]))
    return rows, np.asarray(places, dtype=np.int64)


# --- tasks -------------------------------------------------------------------------------------------


def pair_task(words: Sequence[str] = PAIR_WORDS, *, at_end: bool = False) -> Task:
    """Return the task for sentence pairs: ``{first} {mask}. {second}``, with a word for each of `PAIR_LABELS`.

    `at_end` puts the mask after both sentences, as causal models require.
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
    """Return the task for single sentences with five grades, as in PPT; `at_end`: all patterns end in the mask."""
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
    """Return the multiple-choice task: ``{query} A. {a} B. {b} The answer is {mask}.``"""
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
    """Convert a task to the unified format: its input, its label words as options, and letters at the mask.

    It has one pattern, with the first word of each label in the task's first pattern, in label order. For members
    that start from a prompt pretrained with ``--format unified``.

    Raises
    ------
    PetError
        If there are more labels than letters, or the label words are fields of the data.
    """
    if task.patterns[0].verbalizer.by_row:
        raise PetError(f"the words of {task.name} are fields of the data, which cannot be listed as options")
    if len(task.labels) > len(LETTERS):
        raise PetError(
            f"{task.name} has {len(task.labels)} labels, but the unified format supports at most {len(LETTERS)}"
        )
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
