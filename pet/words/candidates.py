"""Candidate words: frequent whole words of some texts that are single tokens of a model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pet.cloze.words import is_unspaced, word_token

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Array = NDArray[Any]
MOST = 10_000  # candidate words (PETAL)
OFTEN, ENOUGH = 3, 200  # words that appear less often are left out, if this many others remain
_WORD = re.compile(r"[^\W\d_]+")
_BEFORE = "was"  # a word before each candidate, so that it is tokenized as in running text


@dataclass(frozen=True)
class Candidates:
    """Words that are single tokens, the most frequent first.

    Attributes
    ----------
    words : the words, in their most frequent spelling
    tokens : int64 array of shape (C,)
    counts : int64 array of shape (C,): how often each appears in the texts
    """

    words: tuple[str, ...]
    tokens: Array
    counts: Array

    def __len__(self) -> int:
        return len(self.words)


def find_candidates(
    texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, names: Sequence[str] = (), most: int = MOST
) -> Candidates:
    """Return the most frequent words of some texts that the model fills in as one token.

    Spellings that differ only in case count as one word. In scripts without spaces, single characters and pairs of
    neighbors count as words.

    Parameters
    ----------
    texts : the texts
    tokenizer : of the model
    names : other words that compete even if they are not in the texts
    most : maximum number of words
    """
    spellings: dict[str, Counter[str]] = {}
    for text in texts:
        for word in _words_of(text):
            spellings.setdefault(word.casefold(), Counter())[word] += 1
    counted = sorted(((sum(found.values()), key) for key, found in spellings.items()), reverse=True)
    often = [pair for pair in counted if pair[0] >= OFTEN]
    kept = often if len(often) >= ENOUGH else counted
    frequent = [(spellings[key].most_common(1)[0][0], count) for count, key in kept]
    chosen: dict[int, tuple[str, int]] = {}
    for start in range(0, len(frequent), 4096):
        part = frequent[start : start + 4096]
        for (word, count), token in zip(part, single_tokens(tokenizer, [word for word, _ in part]), strict=True):
            if token is not None and len(chosen) < most:
                chosen.setdefault(token, (word, count))
        if len(chosen) == most:
            break
    for name, token in zip(names, single_tokens(tokenizer, names), strict=True):
        if token is not None:
            chosen.setdefault(token, (name, spellings.get(name.casefold(), Counter()).total()))
    words = _in_lower_case([word for word, _ in chosen.values()], list(chosen), tokenizer)
    counts = np.array([count for _, count in chosen.values()], np.int64)
    return Candidates(words, np.array(list(chosen), np.int64), counts)


def _in_lower_case(words: Sequence[str], tokens: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """Return words in lower case where the model makes no difference."""
    lower = [word.lower() for word in words]
    same = [token == other for token, other in zip(tokens, single_tokens(tokenizer, lower), strict=True)]
    return tuple(low if equal else word for word, low, equal in zip(words, lower, same, strict=True))


def single_tokens(tokenizer: PreTrainedTokenizerBase, words: Sequence[str]) -> list[int | None]:
    """Return the token of each word in running text; None for a word of several tokens, or none."""
    spaced = [word for word in words if not is_unspaced(word)]
    before: list[int] = tokenizer(_BEFORE, add_special_tokens=False)["input_ids"]
    rows = tokenizer([f"{_BEFORE} {word}" for word in spaced], add_special_tokens=False)["input_ids"] if spaced else []
    found: dict[str, Sequence[int]] = {
        word: row[len(before) :] for word, row in zip(spaced, rows, strict=True) if row[: len(before)] == before
    }
    forbidden = {*tokenizer.all_special_ids, tokenizer.unk_token_id}
    result: list[int | None] = []
    for word in words:
        tokens = found[word] if word in found else word_token(tokenizer, word)
        result.append(tokens[0] if len(tokens) == 1 and tokens[0] not in forbidden else None)
    return result


def _words_of(text: str) -> Iterable[str]:
    for match in _WORD.finditer(text):
        word = match.group()
        if not is_unspaced(word):
            if len(word) > 1:
                yield word
            continue
        yield from word
        yield from (word[i : i + 2] for i in range(len(word) - 1))
