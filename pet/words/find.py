"""Find words for the labels of a task with the model that fills them in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from pet.cloze.encode import ClozeEncoder, token_keys
from pet.cloze.tokens import tokenize_fields
from pet.data.checks import column_labels
from pet.data.pick import evenly_spaced, pick_columns, pick_rows
from pet.data.sample import sample_shots
from pet.errors import PetError
from pet.members.null_text import NULL_TEXTS
from pet.members.shared import Shared
from pet.progress import Reporter
from pet.seeds import derive_seed
from pet.settings import out_of_range
from pet.words.candidates import Candidates, find_candidates
from pet.words.function_words import ASSOCIATED, UPPER, association, presence, telling
from pet.words.mask import log_probabilities
from pet.words.names import most_frequent, name_tokens, named_words, seed_words
from pet.words.ranking import (
    LIKELY,
    LIKELY_IN_POOL,
    NEAREST,
    against_others,
    choose,
    highest,
    likelihood_ratios,
    relevance,
    scale_to,
    similarities,
    with_names,
)

Array = NDArray[Any]
COUNTED = 20_000  # unlabeled texts whose words are counted
FEW = 4  # labeled texts of a label below which its name says more, and its words are a guess


@dataclass(frozen=True)
class WordOptions:
    """How to look for words.

    Attributes
    ----------
    count : words of each label
    texts : maximum number of labeled texts that are read, and of unlabeled texts
    seed : random seed of the choice of labeled texts

    Raises
    ------
    PetError
        If a value is out of range.
    """

    count: int = 10
    texts: int = 300
    seed: int = 0

    def __post_init__(self) -> None:
        problems = out_of_range(self, {"count": (1, 1000), "texts": (1, 100_000)})
        if problems:
            raise PetError(problems)


@dataclass(frozen=True)
class FoundWord:
    """A word found for a label.

    Attributes
    ----------
    word : the word
    score : higher is better; comparable within a label
    patterns : its score in each pattern of the group
    count : how often it appears in the texts
    """

    word: str
    score: float
    patterns: tuple[float, ...]
    count: int


@dataclass(frozen=True)
class WordGroup:
    """Words for the patterns that share a verbalizer.

    Attributes
    ----------
    patterns : positions of the patterns, from 0
    words : label -> its words, the best first; may be empty
    notes : label -> why its words are a guess, for labels whose words are
    """

    patterns: tuple[int, ...]
    words: dict[str, tuple[FoundWord, ...]]
    notes: dict[str, str] = field(default_factory=dict)


def find_words(
    shared: Shared,
    train: Dataset | None,
    pool: Dataset | None,
    options: WordOptions | None = None,
    reporter: Reporter | None = None,
) -> list[WordGroup]:
    """Find words for every label.

    Labels with texts in `train` get the words that set their texts apart. Labels with fewer than `FEW` texts, or with
    all of them, get neighbors of their name and description.

    Parameters
    ----------
    shared : task, recipe, model and device; the words of the task are not used
    train : labeled texts
    pool : unlabeled texts; default: the labeled ones
    options : how many words, and how many texts to read
    reporter : shows progress

    Raises
    ------
    PetError
        If there are no texts, or none of their words is a single token of the model.
    """
    options, reporter = options or WordOptions(), reporter or Reporter("quiet")
    if train is None and pool is None:
        raise PetError("words are found in texts; give --unlabeled, --train or both")
    if any(pattern.verbalizer.by_row for pattern in shared.task.patterns):
        raise PetError(f"the words of {shared.task.name} are fields of the data ({{field}}); there are none to find")
    having = [position for position, pattern in enumerate(shared.task.patterns) if not pattern.asks]
    if not having:
        raise PetError(f"the patterns of {shared.task.name} ask about each {{label}}; their words are no and yes")
    asked = replace(shared, task=shared.task.with_patterns([position + 1 for position in having]))
    groups = _Search(asked, train, pool, options, reporter).run()
    return [replace(group, patterns=tuple(having[position] for position in group.patterns)) for group in groups]


class _Search:
    def __init__(
        self, shared: Shared, train: Dataset | None, pool: Dataset | None, options: WordOptions, reporter: Reporter
    ):
        self.shared, self.options, self.reporter = shared, options, reporter
        self.task, self.labels = shared.task, len(shared.task.labels)
        self.belongs = np.zeros((0, self.labels), bool)
        self.train = self._drawn(train) if train is not None else None
        self.counts = self.belongs.sum(axis=0)
        tables = [table for table in (pool, train) if table is not None]
        self.candidates = self._candidates(tables)
        self.pool = evenly_spaced(tables[0], options.texts)

    def run(self) -> list[WordGroup]:
        task, info = self.task, self.shared.models.info
        length = self.shared.recipe.encoding.max_length
        encoders = [ClozeEncoder(info.tokenizer, p.template, length, blank=info.blank) for p in task.patterns]
        seeds = seed_words(task, self.candidates)
        tokens = [name_tokens(self.shared.tokenizer, words) for words in seeds]
        similar = self._similarities([found for found, _ in tokens])
        # The texts of a label say nothing if there are few of them, or none of other labels to compare them with.
        few = (self.counts < FEW) | (self.counts == len(self.belongs))
        self.by_name = few & similar.any(axis=0)
        scores, likely, lift = self._scores(encoders, similar)
        self.telling = self._telling(lift.mean(axis=0), tokens)
        notes = {label: self._note(number) for number, label in enumerate(task.labels) if few[number]}
        groups: dict[tuple[Any, ...], list[int]] = {}
        for position, pattern in enumerate(task.patterns):
            groups.setdefault(tuple(pattern.verbalizer.words.items()), []).append(position)
        return [self._group(positions, scores, likely, notes) for positions in groups.values()]

    def _group(self, positions: list[int], scores: Array, likely: Array, notes: dict[str, str]) -> WordGroup:
        mean = scores[positions].mean(axis=0)
        most = np.where(self.by_name, LIKELY_IN_POOL, LIKELY)
        mean_likely = likely[positions].mean(axis=0)
        allowed = np.stack(
            [highest(mean_likely[:, [label]], int(most[label]))[:, 0] for label in range(self.labels)], axis=1
        )
        allowed &= self.telling
        chosen = choose(mean, allowed, self.options.count)
        words = {
            label: tuple(
                FoundWord(
                    self.candidates.words[row],
                    float(mean[row, number]),
                    tuple(float(scores[position, row, number]) for position in positions),
                    int(self.candidates.counts[row]),
                )
                for row in chosen[number]
            )
            for number, label in enumerate(self.task.labels)
        }
        return WordGroup(tuple(positions), words, {label: note for label, note in notes.items() if words[label]})

    def _scores(self, encoders: Sequence[ClozeEncoder], similar: Array) -> tuple[Array, Array, Array]:
        """Return scores, log-probabilities and lift of each word for each label, of shape (patterns, C, L).

        The lift is how much more likely a word is in the texts that favor it than without text.
        """
        by_name = np.flatnonzero(self.by_name)
        shape = (len(encoders), len(self.candidates), self.labels)
        scores, likely, lift = np.full(shape, -np.inf), np.full(shape, -np.inf), np.zeros(shape)
        rows = len(self.train or ()) + (len(self.pool) if len(by_name) else 0)
        near = highest(similar, NEAREST)
        keys = token_keys(encoders)
        plain = encoders[0].plain
        labeled = tokenize_fields(self.train, keys, plain) if self.train is not None else None
        unlabeled = tokenize_fields(self.pool, keys, plain) if len(by_name) else None
        nothing = tokenize_fields(Dataset.from_dict({name: list(NULL_TEXTS) for name in self.task.fields}), keys, plain)
        with self.reporter.task("fill the mask", rows * len(encoders), "text") as bar:
            for number, encoder in enumerate(encoders):
                alone = log_probabilities(self.shared, encoder, nothing, self.candidates.tokens).mean(axis=0)
                if labeled is not None:
                    found = log_probabilities(self.shared, encoder, labeled, self.candidates.tokens, bar.update)
                    ratios, likely[number] = likelihood_ratios(found, self.belongs)
                    scores[number] = with_names(ratios, similar, self.counts)
                    for label in np.flatnonzero(self.counts):
                        lift[number, :, label] = np.quantile(found[self.belongs[:, label]], UPPER, axis=0) - alone
                if unlabeled is not None:
                    found = log_probabilities(self.shared, encoder, unlabeled, self.candidates.tokens, bar.update)
                    fits = relevance(found, similar) + against_others(similar)
                    scores[number][:, by_name] = np.where(near, fits, -np.inf)[:, by_name]
                    likely[number][:, by_name] = found.mean(axis=0)[:, None]
                    lift[number][:, by_name] = (np.quantile(found, UPPER, axis=0) - alone)[:, None]
        return scale_to(scores, self.by_name), likely, lift

    def _telling(self, lift: Array, tokens: Sequence[tuple[list[int], list[int]]]) -> Array:
        """Return which words may stand for a label: bool array of shape (C, L); see `function_words`."""
        frequent = np.arange(len(self.candidates)) < most_frequent(self.candidates)
        associated = np.zeros(lift.shape, dtype=bool)
        if self.train is not None:
            words = self.candidates.words[: int(frequent.sum())]
            seen = presence((" ".join(row) for row in zip(*self._columns(self.train), strict=True)), words)
            associated[: len(words)] = association(seen, self.belongs) >= ASSOCIATED
        whole = [[token for token in found if token not in parts] for found, parts in tokens]
        named = np.stack([np.isin(self.candidates.tokens, found) for found in whole], axis=1)
        return telling(lift, frequent, associated, named)

    def _columns(self, table: Dataset) -> list[list[str]]:
        return [list(pick_columns(table, self.task.fields)[name]) for name in self.task.fields]

    def _note(self, label: int) -> str:
        """Return why the words of a label are a guess."""
        count = int(self.counts[label])
        if not self.by_name[label]:
            return f"a guess from {count} {'text' if count == 1 else 'texts'}"
        described = self.task.labels[label] in self.task.descriptions
        return f"a guess from its {'name and description' if described else 'name'}"

    def _similarities(self, names: Sequence[list[int]]) -> Array:
        """Return the similarity of each word to the tokens of each label's name, shape (C, L)."""
        model = self.shared.models.untrained().model
        layer = model.get_output_embeddings() or model.get_input_embeddings()
        matrix = layer.weight.detach().float().cpu().numpy()
        return similarities(matrix[self.candidates.tokens], [matrix[tokens] for tokens in names])

    def _candidates(self, tables: Sequence[Dataset]) -> Candidates:
        texts = (text for table in tables for text in _texts(evenly_spaced(table, COUNTED), self.task.fields))
        found = find_candidates(
            texts, self.shared.tokenizer, [word for words in named_words(self.task) for word in words]
        )
        if not len(found):
            raise PetError(
                f"model {self.shared.models.info.name}: no word of the texts is a single token of this model; use a "
                "model for the language of the texts"
            )
        return found

    def _drawn(self, train: Dataset) -> Dataset:
        """Draw labeled texts, evenly over the labels if a text has only one, and remember their labels."""
        gold, most = column_labels(train), min(self.options.texts, len(train))
        if gold.ndim == 2:
            drawn = evenly_spaced(train, most)
            self.belongs = column_labels(drawn) > 0
            return drawn
        rows = sample_shots(gold, self.labels, examples=most, seed=derive_seed(self.options.seed, "sample"))
        self.belongs = np.eye(self.labels, dtype=bool)[gold[rows]]
        return pick_rows(train, rows)


def _texts(table: Dataset, fields: Sequence[str]) -> Iterator[str]:
    for batch in pick_columns(table, fields).iter(batch_size=1024):
        for name in fields:
            yield from batch[name]
