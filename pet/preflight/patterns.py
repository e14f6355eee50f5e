"""Bind and fill the patterns of a task with a tokenizer: words, tokens, lengths. No weights are needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pet.backbones.masks import cost_per_text
from pet.cloze.asked import about, check_kept, name_tokens
from pet.cloze.blank import Blank
from pet.cloze.encode import ClozeEncoder, token_keys
from pet.cloze.pvp import bind_by_row
from pet.cloze.ragged import Encoded
from pet.cloze.tokens import TokenTable, tokenize_fields
from pet.cloze.words import word_token, word_tokens
from pet.errors import PetError, TextError

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from pet.task.pattern import Pattern
    from pet.task.task import Task


BLANK = "____"  # shown for a blank that is not a token
LEARNED = "*"  # shown for a learned vector


@dataclass(frozen=True)
class Filled:
    """A filled pattern: its tokens, and the position of the mask."""

    tokens: tuple[str, ...]
    mask: int


@dataclass
class PatternCheck:
    """A pattern with a tokenizer.

    Attributes
    ----------
    template : the pattern, as in the task file
    asks : whether it asks about each label by itself
    words : label -> word -> its tokens
    fixed_length : tokens of the pattern without texts, including special tokens and the mask; None if the pattern
        cannot be used
    filled : the pattern with the first texts
    cut : table -> share of its texts that are truncated
    mean_length : table -> mean number of tokens per row
    tokens_read : table -> mean number of tokens that a masked language model reads to score a text, if a word has
        several tokens, or the pattern asks about each label
    problems : problems that would stop a run
    """

    template: str
    asks: bool = False
    words: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    fixed_length: int | None = None
    filled: list[Filled] = field(default_factory=list)
    cut: dict[str, float] = field(default_factory=dict)
    mean_length: dict[str, float] = field(default_factory=dict)
    tokens_read: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def check_patterns(
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    tables: Mapping[str, Dataset],
    *,
    shown: int = 2,
    before: int = 0,
    soft: bool = False,
    blank: Blank | None = None,
) -> list[PatternCheck]:
    """Check every pattern of a task. Problems are collected, not raised.

    Parameters
    ----------
    task, tokenizer, max_length : what to check
    tables : name -> texts to fill the patterns with
    shown : number of filled rows to keep, from the first table
    before, soft, blank : see `pet.cloze.encode.ClozeEncoder`
    """
    checks = [PatternCheck(pattern.template.source, pattern.asks) for pattern in task.patterns]
    encoders: dict[int, ClozeEncoder] = {}
    for number, (check, pattern) in enumerate(zip(checks, task.patterns, strict=True)):
        _look_up_words(check, pattern, tokenizer, task.answers(pattern), blank)
        try:
            longest = max(1, *(len(tokens) for words in check.words.values() for tokens in words.values()))
            encoders[number] = ClozeEncoder(
                tokenizer, pattern.template, max_length, before=before, soft=soft, blank=blank, longest_word=longest
            )
            check.fixed_length = encoders[number].fixed_length
            if pattern.verbalizer.by_row:
                bind_by_row(pattern, task.labels, encoders[number])
        except PetError as error:
            check.problems += error.problems
    for name, table in tables.items():
        tokens = tokenize_for(list(encoders.values()), table)
        first = name == next(iter(tables))
        for number, encoder in encoders.items():
            asks, own = checks[number].asks, tokens
            try:
                if asks:  # about the labels in turn
                    names = name_tokens(encoder, task.labels)
                    check_kept(encoder, tokens, names)
                    own = about(tokens, names, np.arange(len(table)) % len(task.labels))
                _fill(checks[number], encoder, own, name, shown if first else 0)
            except TextError as error:  # a field that must not be truncated
                checks[number].problems += error.named(name, table["id"]).problems
            if asks and name in checks[number].mean_length:
                checks[number].tokens_read[name] = checks[number].mean_length[name] * len(task.labels)
    return checks


def note_cost(check: PatternCheck, *, in_turn: bool) -> None:
    """Set `PatternCheck.tokens_read` for a masked language model.

    Parameters
    ----------
    check : the pattern, with words and mean lengths
    in_turn : whether the tokens of a word are scored one after the other
    """
    sizes = [len(tokens) for words in check.words.values() for tokens in words.values()]
    if max(sizes) > 1 and not check.tokens_read:
        check.tokens_read = {name: cost_per_text(length, sizes, in_turn) for name, length in check.mean_length.items()}


def problems_of(checks: Sequence[PatternCheck], task: Task) -> list[str]:
    """Return each problem once, with the line of its pattern, or the numbers of its patterns."""
    numbers: dict[str, list[int]] = {}
    for number, check in enumerate(checks, 1):
        for problem in check.problems:
            numbers.setdefault(problem, []).append(number)
    named = tuple({f"{place}: " for p in task.patterns for place in p.verbalizer.places.values() if place})
    return [
        problem if problem.startswith(named) else f"{_place(task, which)}: {problem}"
        for problem, which in numbers.items()
    ]


def _place(task: Task, which: Sequence[int]) -> str:
    if len(which) == 1 and task.patterns[which[0] - 1].place:
        return task.patterns[which[0] - 1].place
    listed = "all patterns" if len(which) == len(task.patterns) > 1 else f"pattern {', '.join(map(str, which))}"
    return f"{task.path or task.name}: {listed}"


def tokenize_for(encoders: Sequence[ClozeEncoder], table: Dataset) -> TokenTable:
    """Tokenize the fields of a table that these encoders read."""
    if not encoders:
        return {}
    keys = token_keys(encoders)
    return tokenize_fields(table, keys, encoders[0].plain)


def _look_up_words(
    check: PatternCheck,
    pattern: Pattern,
    tokenizer: PreTrainedTokenizerBase,
    labels: Sequence[str],
    blank: Blank | None,
) -> None:
    continuation = blank is not None and blank.at_end and pattern.template.mask_follows_directly
    if pattern.verbalizer.by_row:
        check.words.update({label: {pattern.verbalizer.words[label][0]: ()} for label in labels})
        return
    for label in labels:
        check.words[label] = {
            word: tuple(
                map(str, tokenizer.convert_ids_to_tokens(word_token(tokenizer, word, continuation=continuation)))
            )
            for word in pattern.verbalizer.words[label]
        }
    try:
        word_tokens(pattern.verbalizer, tokenizer, labels, continuation=continuation)
    except PetError as error:
        check.problems += error.problems


def _fill(check: PatternCheck, encoder: ClozeEncoder, tokens: TokenTable, name: str, shown: int) -> None:
    encoded = encoder.encode(tokens)
    check.cut[name] = float(encoded.cut.mean())
    check.mean_length[name] = float(encoded.ids.lengths.mean())
    if encoded.choices is not None:  # every word of a row is read with the row
        sizes = (encoded.choices >= 0).sum(axis=2)
        check.tokens_read[name] = float((encoded.ids.lengths[:, None] + sizes - 1).sum(axis=1).mean())
    check.filled += [_row(encoded, row, encoder.plain.tokenizer) for row in range(min(shown, len(encoded)))]


def _row(encoded: Encoded, row: int, tokenizer: PreTrainedTokenizerBase) -> Filled:
    ids: list[int] = encoded.ids[row].tolist()
    words: list[str] = tokenizer.convert_ids_to_tokens([max(i, 0) for i in ids])
    tokens = tuple(str(word) if i >= 0 else LEARNED for i, word in zip(ids, words, strict=True))
    mask = int(encoded.mask_position[row])
    return Filled((*tokens, BLANK) if mask == len(tokens) else tokens, mask)
