"""Words and patterns for a first task file that a model accepts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pet.backbones.info import ModelInfo
from pet.backbones.masked import check_length
from pet.cloze.bind import bind_patterns
from pet.cloze.encode import ClozeEncoder
from pet.data.table_format import DETECT, TableFormat
from pet.errors import PetError
from pet.members.models import Models
from pet.members.shared import Shared
from pet.progress import Reporter
from pet.recipe import Recipe, make_recipe
from pet.scaffold.scaffold import Draft, fillers, folded
from pet.task.edit import NewWords
from pet.task.task import Task
from pet.words.candidates import single_tokens
from pet.words.find import WordGroup, WordOptions, find_words
from pet.words.tables import read_texts

COUNT = 5  # words of each label


@dataclass(frozen=True)
class ModelOptions:
    """The model that fills in the words, and the texts to find them in.

    Attributes
    ----------
    model : folder, embedded model, or hub name
    unlabeled : unlabeled texts, or None
    max_length : longest input in tokens; default: that of the default recipe
    device, precision : see `pet.training.device.make_accelerator`
    allow_pickle : whether pickled weights may be opened
    """

    model: str
    unlabeled: str | None = None
    max_length: int | None = None
    device: str = "auto"
    precision: str = "auto"
    allow_pickle: bool = False

    def recipe(self) -> Recipe:
        """Return the default recipe with this length."""
        return make_recipe("default", {} if self.max_length is None else {"max_length": str(self.max_length)})


def with_model(
    draft: Draft,
    task: Task,
    options: ModelOptions,
    reporter: Reporter,
    columns: Mapping[str, str] = {},
    table_format: TableFormat = DETECT,
) -> Draft:
    """Return a draft with the patterns that a model can fill, and words that it fills in.

    Parameters
    ----------
    draft : the draft
    task : the task that it describes
    options : model and texts
    reporter : shows progress
    columns, table_format : see `pet.data.read.read_table`

    Raises
    ------
    PetError
        If the model cannot be used, or a text cannot be read.
    """
    recipe, info = options.recipe(), ModelInfo(options.model, allow_pickle=options.allow_pickle)
    length = recipe.encoding.max_length
    info.check()
    check_length(info.meta, length, info.name)
    sources = {"train": draft.source} | ({"unlabeled": options.unlabeled} if options.unlabeled else {})
    tables = read_texts(task, sources, columns, table_format)
    task = task.with_patterns(_usable(task, info, length))
    models = Models(info, length, shared=False)
    shared = Shared(task, recipe, models, options.device, options.precision)
    (group,) = find_words(shared, tables["train"], tables.get("unlabeled"), WordOptions(COUNT), reporter)
    words = _complete(group, draft.words, info)
    plain = {label: list(found) for label, found in words.words.items()}
    bind_patterns(Task.from_dict(task.to_dict() | {"verbalizer": plain}), info.tokenizer, length, blank=info.blank)
    patterns = tuple(pattern.template.source for pattern in task.patterns)
    return replace(draft, words=words, patterns=patterns, model=options.model)


def _usable(task: Task, info: ModelInfo, length: int) -> list[int]:
    """Return the numbers of the patterns that the model can fill, from 1."""
    usable, problems = [], []
    for number, pattern in enumerate(task.patterns, 1):
        try:
            ClozeEncoder(info.tokenizer, pattern.template, length, blank=info.blank)
            usable.append(number)
        except PetError as error:
            problems += error.problems
    if not usable:
        raise PetError(problems)
    return usable


def _complete(group: WordGroup, guesses: NewWords, info: ModelInfo) -> NewWords:
    """Return the words of every label. Labels without found words get their guess, or a letter or number."""
    words: Mapping[str, Sequence[str]] = {label: [one.word for one in found] for label, found in group.words.items()}
    taken = {folded(word) for found in words.values() for word in found}
    complete, notes = dict(words), dict(group.notes)
    for label, found in words.items():
        if not found:
            word = _first_token([*guesses.words[label], *fillers()], taken, info)
            taken.add(folded(word))
            complete[label], notes[label] = [word], "a guess"
    return NewWords(complete, notes)


def _first_token(words: Iterable[str], taken: set[str], info: ModelInfo) -> str:
    free = [word for word in words if folded(word) not in taken]
    tokens = single_tokens(info.tokenizer, free)
    return next((word for word, token in zip(free, tokens, strict=True) if token is not None), free[0])
