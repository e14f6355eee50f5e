"""The member kind `rules`: words that vote for labels, as in weak supervision. It abstains where no word occurs."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pet.cloze.words import is_unspaced, whole_word
from pet.data.columns import Layout, some
from pet.data.open_source import open_source
from pet.data.pick import pick_columns, pick_rows
from pet.data.problems import Problems
from pet.data.row_reader import records
from pet.data.source import column_names
from pet.data.values import as_text, label_text
from pet.ensemble.scale import Scale
from pet.errors import PetError
from pet.members.seam import Array, MemberData, OnRows, OnStep, Report, ignore
from pet.members.spec import MemberSpec, file_spec
from pet.members.texts import Texts
from pet.spelling import Names, compose
from pet.store.json_reader import read_json
from pet.store.schema import list_of, mapping_of, whole
from pet.suggest import suggest
from pet.task.task import Task

KIND = "rules"
KEPT = "rules.json"
SMOOTHING = 0.1  # votes that each label has to begin with
LONGEST = 10  # words of a phrase
CHUNK_ROWS = 4096
_WORD = re.compile(r"\w+")
_AGAIN = "train this member again"


def parse(argument: str) -> MemberSpec:
    """Parse ``rules:FILE``. The member is named after the file."""
    return file_spec(KIND, argument, "words.csv")


@dataclass
class RulesMember:
    """Words and the labels that they vote for.

    Attributes
    ----------
    spec : ``options["file"]`` is a table with the columns ``word`` and ``label``
    task : the task
    folder : folder with the member's copy of the rules; None before `fit`
    """

    spec: MemberSpec
    task: Task
    folder: Path | None = None
    scale: Scale = Scale.LOG_PROBABILITIES
    _rules: Rules | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.spec.name

    def fit(self, data: MemberData, folder: Path, on_step: OnStep = ignore) -> Report:
        """Check the whole file and copy its rules to the folder. The file is not needed afterwards."""
        votes = read_rules(self.spec.options["file"], self.task.labels, self.name)
        (folder / KEPT).write_text(json.dumps(votes, ensure_ascii=False) + "\n", encoding="utf-8")
        self.folder, self._rules = folder, Rules(votes)
        return Report(0, notes={"rules": len(votes)})

    def load(self) -> None:
        """See `pet.members.seam.Scorer.load`."""
        if self._rules is None and self.folder is not None:
            label = list_of(whole(0, len(self.task.labels) - 1), 1, len(self.task.labels))
            self._rules = Rules(read_json(self.folder / KEPT, _AGAIN, mapping_of(label)))

    def scores(self, texts: Texts, out: Array, on_rows: OnRows = ignore) -> None:
        """See `pet.members.seam.Scorer.scores`."""
        self.load()
        if self._rules is None:
            raise ValueError(f"member {self.name} must be fitted before it scores")
        out[:] = np.nan
        for start in range(0, len(texts), CHUNK_ROWS):
            rows = range(start, min(start + CHUNK_ROWS, len(texts)))
            table = pick_columns(pick_rows(texts.table, rows), self.task.fields)
            for row, values in zip(rows, zip(*(table[name] for name in self.task.fields), strict=True), strict=True):
                votes = np.zeros(out.shape[1])
                for label in self._rules.votes("\n".join(values)):
                    votes[label] += 1
                if votes.any():
                    votes += SMOOTHING
                    out[row] = np.log(votes / votes.sum())
            on_rows(len(rows))


class Rules:
    """Words and phrases, ready to be found in texts.

    Parameters
    ----------
    votes : word or phrase -> positions of the labels that it votes for

    Examples
    --------
    >>> rules = Rules({"not good": [0], "great": [1]})
    >>> list(rules.votes("Not  good, but the view was GREAT")), list(rules.votes("greater"))
    ([1, 0], [])
    >>> list(Rules({"C++": [0]}).votes("Written in C")), list(Rules({"C++": [0]}).votes("c++17"))
    ([], [0])
    """

    def __init__(self, votes: Mapping[str, list[int]]):
        literals: dict[str, list[int]] = {}
        self._phrases: dict[tuple[str, ...], list[int]] = {}
        for word, labels in votes.items():  # words that differ only in case are one, with the labels of both
            if _is_phrase(word):
                known = self._phrases.setdefault(tuple(_WORD.findall(_folded(word))), [])
            else:
                known = literals.setdefault(_folded(word), [])
            known += [label for label in labels if label not in known]
        self._literals = [(whole_word(word), labels) for word, labels in literals.items()]
        self._lengths = sorted({len(phrase) for phrase in self._phrases})

    def votes(self, text: str) -> Iterator[int]:
        """Yield the labels that the words of a text vote for; every word votes once."""
        text = _folded(text)
        words = _WORD.findall(text)
        there = {tuple(words[n : n + length]) for length in self._lengths for n in range(len(words) - length + 1)}
        for phrase in sorted(there & self._phrases.keys()):
            yield from self._phrases[phrase]
        for literal, labels in self._literals:
            if literal.search(text):
                yield from labels


def _folded(text: str) -> str:
    return compose(text).casefold()


def _is_phrase(word: str) -> bool:
    """Return True if a rule is words between spaces and punctuation, without signs as in `C++` or `R&D`."""
    return bool(_WORD.search(word)) and not any(is_unspaced(c) or _is_sign(c) for c in word)


def _is_sign(character: str) -> bool:
    return character in "#%&*@" or unicodedata.category(character).startswith("S")


def read_rules(path: str | Path, labels: tuple[str, ...], name: str) -> dict[str, list[int]]:
    """Read words and the labels that they vote for from a table with the columns ``word`` and ``label``.

    Parameters
    ----------
    path : the file
    labels : labels of the task, in order
    name : name of the member in messages

    Returns
    -------
    dict: word -> positions of its labels

    Raises
    ------
    PetError
        Naming every wrong line.
    """
    source = open_source(path, name)
    header = column_names(source) or []
    if source.kind != "json" and not {"word", "label"} <= {*header}:
        raise PetError(f"{name}: {source.shown}: requires the columns `word` and `label`; it has {some(header)}")
    problems, names = Problems(source, name), Names(labels)
    found: dict[str, list[int]] = {}
    for place, row in records(source, Layout({column: column for column in header}, None, None), problems):
        word, text = (as_text(row.get("word")) or "").strip(), label_text(row.get("label")) or ""
        label = names.find(text)
        if not word:
            problems.add(place, "word", "has no word")
        elif len(_WORD.findall(word)) > LONGEST:
            problems.add(place, "long", f"the phrase has more than {LONGEST} words; use a shorter one", word)
        elif label is None:
            problems.add(place, "label", f"label {text!r} is not in the task; {suggest(text, labels)}", text)
        else:
            number = labels.index(label)
            known = found.setdefault(word, [])
            known += [] if number in known else [number]
    problems.raise_if_any()
    if not found:
        raise PetError(f"{name}: {source.shown}: has no rules")
    return found
