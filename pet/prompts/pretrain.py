"""Pretrain a prompt on unlabeled text (PPT, Gu et al. 2021, arXiv 2109.04332)."""

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
    LETTERS,
    PAIR_WORDS,
    choice_examples,
    choice_task,
    most_confident,
    pair_examples,
    pair_task,
    single_task,
    split_sentences,
    to_choices,
)
from pet.prompts.session import Session, train_on
from pet.seeds import derive_seed
from pet.settings import out_of_range
from pet.spelling import match_all
from pet.task.task import Task, one_label_only

if TYPE_CHECKING:
    from datasets import Dataset

Array = NDArray[Any]
Part = tuple[Task, "Dataset"]
FORMATS = ("single", "pair", "choice", "unified")
_POOL = 10  # number of documents to split, and sentences to label, per example


@dataclass(frozen=True)
class PretrainingExamples:
    """Which examples to create from unlabeled text.

    Attributes
    ----------
    form : one of `FORMATS`. ``unified`` consists of one third of each other format, as multiple choice
    count : number of examples, at least 3
    options : number of options in multiple choice
    words : for ``pair``: the label words for another document, the same document, and the next sentence
    task : for ``single`` and ``unified``: the task to label sentences for; default: sentiment with five grades
    teacher : for the same formats: a classifier that labels the sentences. Default: the model itself, with the
        untrained patterns of `task`, calibrated to equal label frequencies. PPT uses a teacher; a model learns
        little from its own labels.
    """

    form: str
    count: int = 2000
    options: int = 4
    words: Sequence[str] = PAIR_WORDS
    task: Task | None = None
    teacher: str | None = None


def pretrain(session: Session, texts: Sequence[str], name: str, examples: PretrainingExamples) -> Prompt:
    """Train a prompt on examples created from unlabeled text; the model is unchanged.

    Parameters
    ----------
    session : the model, and how to train
    texts : documents of several sentences (`pet.data.documents.read_documents`); from a large corpus, some are drawn
    name : name of the prompt
    examples : the examples to create

    Raises
    ------
    PetError
        If there is too little text, a value is invalid, the task has texts with several labels, or a label word is not
        a single token of the model.
    """
    if examples.form not in FORMATS:
        raise PetError(f"--format {examples.form!r} is unknown; choose {', '.join(FORMATS)}")
    problems = out_of_range(examples, {"count": (3, 10**7), "options": (2, len(LETTERS))})
    if problems:
        raise PetError(problems)
    if examples.task is not None:
        one_label_only(examples.task, "pretraining a prompt")
    order = np.random.default_rng(derive_seed(session.seed, "pretrain")).permutation(len(texts))
    documents = [split_sentences(texts[i]) for i in order[: _POOL * examples.count]]
    maker = _ExampleMaker(
        session=session,
        documents=documents,
        count=examples.count // 3 if examples.form == "unified" else examples.count,
        options=examples.options,
        words=examples.words,
        task=examples.task or single_task(at_end=session.fills_end),
        teacher=examples.teacher,
    )
    forms = {"single": maker.single, "pair": maker.pair, "choice": maker.choice, "unified": maker.unified}
    teacher = examples.teacher and "classifier"
    origin = {"format": examples.form, "documents": len(documents), "teacher": teacher}
    return train_on(session, forms[examples.form](), name, {"kind": "pretrained", "origin": origin})


@dataclass(frozen=True)
class _ExampleMaker:
    """Creates the examples of each format; see `PretrainingExamples`."""

    session: Session
    documents: Sequence[Sequence[str]]
    count: int
    options: int
    words: Sequence[str]
    task: Task
    teacher: str | None

    def _generator(self, form: str) -> np.random.Generator:
        return np.random.default_rng(derive_seed(self.session.seed, "pretrain", form))

    def pair(self) -> list[Part]:
        if len(self.words) != len(PAIR_WORDS):
            raise PetError(
                "--words needs three words, for another document, the same document, and the next sentence, such as "
                "no,maybe,yes"
            )
        rows, labels = pair_examples(self.documents, self.count, self._generator("pair"))
        return [_part(pair_task(self.words, at_end=self.session.fills_end), rows, labels)]

    def choice(self) -> list[Part]:
        rows, labels = choice_examples(self.documents, self.options, self.count, self._generator("choice"))
        return [_part(choice_task(self.options), rows, labels)]

    def single(self) -> list[Part]:
        sentences, labels = self._labeled()
        return [_part(self.task, sentences, labels)]

    def unified(self) -> list[Part]:
        generator = self._generator("unified")
        pairs, places = pair_examples(self.documents, self.count, self._generator("pair"))
        sentences, grades = self._labeled()
        grade_words = [self.task.patterns[0].verbalizer.words[label][0] for label in self.task.labels]
        queries = [f"{first} {second}" for first, second in pairs]
        return [
            _part(choice_task(3, "ppt-unified-pair"), *to_choices(queries, self.words, places, generator)),
            _part(
                choice_task(self.options, "ppt-unified-choice"),
                *choice_examples(self.documents, self.options, self.count, self._generator("choice")),
            ),
            _part(
                choice_task(len(grade_words), "ppt-unified-single"),
                *to_choices(sentences, grade_words, grades, generator),
            ),
        ]

    def _labeled(self) -> tuple[list[str], Array]:
        """Return the sentences with the most confident labels, and their labels."""
        if len(self.task.fields) != 1:
            raise PetError(f"{self.task.name} has several fields; labeling sentences needs a task with one field")
        generator = self._generator("single")
        sentences = list(dict.fromkeys(sentence for document in self.documents for sentence in document))
        if not sentences:
            raise PetError("the text contains no sentences; give other text")
        order = generator.permutation(len(sentences))[: _POOL * self.count]
        sentences = [sentences[i] for i in order]
        table = table_of(sentences, self.task.fields, name="text")
        probabilities = self._untrained(table) if self.teacher is None else self._taught(table, self.teacher)
        rows, labels = most_confident(probabilities, max(1, self.count // len(self.task.labels)))
        if len(set(labels.tolist())) < 2:
            raise PetError("all sentences have the same label, so a prompt would learn nothing; give other text")
        return [sentences[row] for row in rows], labels

    def _taught(self, table: Dataset, teacher: str) -> Array:
        from pet.student.classifier import load_classifier

        classifier = load_classifier(teacher)
        order = match_all(classifier.labels, self.task.labels)
        if order is None or len(classifier.text_input.fields) != 1:
            raise PetError(
                f"{teacher} has the labels {', '.join(classifier.labels)}, but {self.task.name} has "
                f"{', '.join(self.task.labels)}; give the classifier's own task with --task"
            )
        texts = table_of(table[self.task.fields[0]][:], classifier.text_input.fields, name="text")
        found = classifier.probabilities(texts, self.session.accelerator)
        return found[:, order]

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
