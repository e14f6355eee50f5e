"""Pretraining a prompt on unlabeled text (PPT, Gu et al. 2021, arXiv 2109.04332)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pet.cloze.tokens import TokenTable
from pet.data.memory import table_of
from pet.ensemble.combine import Ensemble
from pet.errors import PetError
from pet.members.scoring import score_rows
from pet.prompts.library import Prompt
from pet.prompts.self_supervised import (
    PAIR_WORDS,
    as_choice,
    choice_examples,
    choice_task,
    pair_examples,
    pair_task,
    single_task,
    split_sentences,
    surest,
)
from pet.prompts.session import Session, train_on
from pet.seeds import derive_seed
from pet.task.task import Task

if TYPE_CHECKING:
    from datasets import Dataset

Array = NDArray[Any]
Part = tuple[Task, "Dataset"]
FORMATS = ("single", "pair", "choice", "unified")
_POOL = 10  # documents that are looked at for each example, and sentences that are labeled


def pretrain(
    session: Session,
    texts: Sequence[str],
    form: str,
    name: str,
    *,
    count: int = 2000,
    options: int = 4,
    words: Sequence[str] | None = None,
    task: Task | None = None,
    teacher: str | None = None,
) -> Prompt:
    """Train a prompt on examples made from unlabeled text; the model stays as it is.

    Parameters
    ----------
    session : the model, and how to train
    texts : documents of several sentences each (`pet.data.documents.read_documents`); of very many some are drawn
    form : one of `FORMATS`. ``unified`` has a third of its examples of each of the others, as multiple choice
    name : of the prompt
    count : examples to make
    options : of multiple choice
    words : for ``pair``: the words for another document, the same one, and the next sentence
    task : for ``single`` and ``unified``: the task that sentences are labeled with; None: five grades of opinion
    teacher : for these: a classifier that labels the sentences; None: the model itself, with the untrained patterns of
        `task`, corrected so that all labels are as frequent. PPT has a teacher; a model that teaches itself has little
        to tell

    Raises
    ------
    PetError
        When there is too little text, or a word is not one token of the model.
    """
    if form not in FORMATS:
        raise PetError(f"--format {form!r} is not known; there are {', '.join(FORMATS)}")
    if count < 3:
        raise PetError(f"--count {count}: it must be 3 or more")
    order = np.random.default_rng(derive_seed(session.seed, "pretrain")).permutation(len(texts))[: _POOL * count]
    documents = [split_sentences(texts[i]) for i in order]
    share = count // 3 if form == "unified" else count
    task = task or single_task(at_end=session.fills_end)
    made = _Examples(session, documents, share, options, words or PAIR_WORDS, task, teacher)
    parts = {"single": made.single, "pair": made.pair, "choice": made.choice, "unified": made.unified}[form]()
    origin = {"format": form, "documents": len(documents), "teacher": teacher and "classifier"}
    return train_on(session, parts, name, {"kind": "pretrained", "origin": origin})


@dataclass(frozen=True)
class _Examples:
    """Makes the examples of each format; see `pretrain`."""

    session: Session
    documents: Sequence[Sequence[str]]
    count: int
    options: int
    words: Sequence[str]
    task: Task
    teacher: str | None

    def _chance(self, form: str) -> np.random.Generator:
        return np.random.default_rng(derive_seed(self.session.seed, "pretrain", form))

    def pair(self) -> list[Part]:
        if len(self.words) != len(PAIR_WORDS):
            raise PetError("--words: give three, for another document, the same, and the next sentence: no,maybe,yes")
        rows, labels = pair_examples(self.documents, self.count, self._chance("pair"))
        return [_part(pair_task(self.words, at_end=self.session.fills_end), rows, labels)]

    def choice(self) -> list[Part]:
        rows, labels = choice_examples(self.documents, self.options, self.count, self._chance("choice"))
        return [_part(choice_task(self.options), rows, labels)]

    def single(self) -> list[Part]:
        sentences, labels = self._labeled()
        return [_part(self.task, sentences, labels)]

    def unified(self) -> list[Part]:
        chance = self._chance("unified")
        pairs, places = pair_examples(self.documents, self.count, self._chance("pair"))
        sentences, grades = self._labeled()
        grade_words = [self.task.patterns[0].verbalizer.words[label][0] for label in self.task.labels]
        queries = [f"{first} {second}" for first, second in pairs]
        return [
            _part(choice_task(3, "ppt-unified-pair"), *as_choice(queries, self.words, places, chance)),
            _part(
                choice_task(self.options, "ppt-unified-choice"),
                *choice_examples(self.documents, self.options, self.count, self._chance("choice")),
            ),
            _part(
                choice_task(len(grade_words), "ppt-unified-single"),
                *as_choice(sentences, grade_words, grades, chance),
            ),
        ]

    def _labeled(self) -> tuple[list[str], Array]:
        """The sentences that get their labels most surely."""
        if len(self.task.fields) != 1:
            raise PetError(f"{self.task.name} has several fields; sentences are labeled with a task of one field")
        chance = self._chance("single")
        sentences = list(dict.fromkeys(sentence for document in self.documents for sentence in document))
        if not sentences:
            raise PetError("the text has no sentence in it")
        order = chance.permutation(len(sentences))[: _POOL * self.count]
        sentences = [sentences[i] for i in order]
        table = table_of(sentences, self.task.fields, name="text")
        probabilities = self._taught(table) if self.teacher is not None else self._untrained(table)
        rows, labels = surest(probabilities, max(1, self.count // len(self.task.labels)))
        if len(set(labels.tolist())) < 2:
            raise PetError("all sentences get the same label, and nothing is to be learned from that; give other text")
        return [sentences[row] for row in rows], labels

    def _taught(self, table: Dataset) -> Array:
        from pet.student.classifier import load_classifier

        assert self.teacher is not None
        classifier = load_classifier(self.teacher)
        if set(classifier.labels) != set(self.task.labels) or len(classifier.text_input.fields) != 1:
            raise PetError(
                f"{self.teacher} labels with {', '.join(classifier.labels)}, and {self.task.name} has "
                f"{', '.join(self.task.labels)}; name the classifier's own task with --task"
            )
        texts = table_of(table[self.task.fields[0]][:], classifier.text_input.fields, name="text")
        found = classifier.probabilities(texts, self.session.accelerator)
        return found[:, [classifier.labels.index(label) for label in self.task.labels]]

    def _untrained(self, table: Dataset) -> Array:
        session = self.session
        tokens = session.tokens(self.task, table)
        scores = [self._scores(pvp, tokens) for pvp in session.patterns(self.task, 0)]
        count = scores[0].shape[1]
        ensemble = Ensemble.of([str(number) for number in range(len(scores))], labels=count)
        return ensemble.corrected(scores, np.full(count, 1 / count)).combine(scores).probabilities

    def _scores(self, pvp: Any, tokens: TokenTable) -> Array:
        session = self.session
        return score_rows(
            session.plain_model(), session.tokenizer, pvp, tokens, session.accelerator,
            max_tokens=session.recipe.inference.tokens,
        )  # fmt: skip


def _part(task: Task, rows: Sequence[Any], labels: Array) -> Part:
    return task, table_of(list(rows), task.fields, labels=labels, name=task.name)
