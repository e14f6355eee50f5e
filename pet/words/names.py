"""What the names and descriptions of labels say about their words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pet.cloze.words import word_token
from pet.task.task import Task
from pet.words.candidates import Candidates

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FREQUENT = 30  # most frequent words, which may say nothing; 1% of the candidates if that is more
# A word of a name says nothing if it is as frequent as `of` and `and`: it has this share of the most frequent one's
# count, and occurs this many times. In fewer texts, frequent words may be what they are about.
_SHARE, _TIMES = 0.15, 20
_LETTERS = re.compile(r"[^\W\d_]+")


def most_frequent(candidates: Candidates) -> int:
    """Return how many of the most frequent words may be function words."""
    return max(FREQUENT, len(candidates) // 100)


def _function_words(candidates: Candidates) -> set[str]:
    """Return the words that are so frequent in the texts that they say nothing even in a name, without case."""
    most = most_frequent(candidates)
    least = max(_TIMES, _SHARE * candidates.counts.max(initial=0))
    pairs = zip(candidates.words[:most], candidates.counts[:most], strict=True)
    return {word.casefold() for word, count in pairs if count >= least}


def name_tokens(tokenizer: PreTrainedTokenizerBase, words: Sequence[str]) -> tuple[list[int], list[int]]:
    """Return the tokens that stand for a label, and those that do not because they are only parts of a word.

    Words of several tokens stand for a label only if it has no other words: `in` and `##voice` say little about
    invoices.

    Parameters
    ----------
    tokenizer : of the model
    words : see `seed_words`
    """
    split = [word_token(tokenizer, word) for word in words]
    whole = [tokens[0] for tokens in split if len(tokens) == 1]
    parts = [token for tokens in split if len(tokens) > 1 for token in tokens if token not in whole]
    return whole or parts, parts


def named_words(task: Task) -> list[list[str]]:
    """Return the words in the name of each label.

    Examples
    --------
    >>> named_words(Task.load("agnews"))[3]
    ['Sci', 'Tech']
    """
    return [_LETTERS.findall(re.sub(r"([a-z])([A-Z])", r"\1 \2", label)) for label in task.labels]


def seed_words(task: Task, candidates: Candidates) -> list[list[str]]:
    """Return the words of each label's name and description.

    Numbers, words that several labels share, words that are not in the texts and function words of names (`of` in
    `State of the Art`) are left out, unless nothing else remains, and so are the most frequent words of the texts in a
    description.
    """
    function_words = _function_words(candidates)
    frequent = {word.casefold() for word in candidates.words[: most_frequent(candidates)]}
    found: list[dict[str, str]] = []  # for each label, words without case -> as they are written
    for label, named in zip(task.labels, named_words(task), strict=True):
        described = _LETTERS.findall(task.descriptions.get(label, ""))
        telling = [word for word in named if word.casefold() not in function_words]
        words = [*(telling or named), *(word for word in described if word.casefold() not in frequent)]
        found.append({word.casefold(): word for word in reversed(words)})
    labels_of = Counter(key for words in found for key in words)
    seen = {word.casefold() for word, count in zip(candidates.words, candidates.counts, strict=True) if count}
    chosen = []
    for every in found:
        own = {key: word for key, word in every.items() if labels_of[key] == 1} or every
        chosen.append([word for key, word in own.items() if key in seen] or list(own.values()))
    return chosen
