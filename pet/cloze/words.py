"""The tokens of label words as they stand in running text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pet.errors import PetError
from pet.task.verbalizer import Verbalizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Words that a label word is put behind to see its tokens in running text.
_ANCHORS = ("the", "was", "and", "it", "of")

# Scripts that are written without spaces: first and last code points, and common characters of the
# script to put the word behind, with no space between.
_UNSPACED: tuple[tuple[tuple[tuple[int, int], ...], str], ...] = (
    # CJK ideographs with their extensions and compatibility forms
    (
        ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF), (0x3005, 0x3007)),
        "是很的在有",
    ),
    (((0x3040, 0x309F),), "はがのにを"),  # Hiragana
    (((0x30A0, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9D)), "アスルンカ"),  # Katakana
    (((0x0E00, 0x0E7F),), "กนมราส"),  # Thai
    (((0x0E80, 0x0EFF),), "ກນມລສ"),  # Lao
    (((0x1780, 0x17FF), (0x19E0, 0x19FF)), "កនមរស"),  # Khmer
    (((0x1000, 0x109F), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F)), "ကနမရသ"),  # Myanmar
)


# What a word is put behind where a pattern writes no space before it.
_SIGNS = ("(", '"', "-")


def word_token(tokenizer: PreTrainedTokenizerBase, word: str, *, glued: bool = False) -> list[int]:
    """Token ids of a word as it stands in running text: behind a space, or glued to the text
    before it in scripts that are written without spaces, and where `glued` says so.

    It is found by probing, so that it holds for every kind of tokenizer: the ids of an anchor with
    the word, less those of the anchor. Several anchors are tried, because one may melt into the
    word, and most of them decide.

    Returns
    -------
    list of int; more than one where the word is several tokens. An id may be 0.
    """
    before_it = _glued_anchors(word) or (_SIGNS if glued else ())
    starts = [(anchor, anchor + word) for anchor in before_it] or [(anchor, f"{anchor} {word}") for anchor in _ANCHORS]
    found: Counter[tuple[int, ...]] = Counter()
    for anchor, joined in starts:
        before, both = _ids(tokenizer, anchor), _ids(tokenizer, joined)
        if before and both[: len(before)] == before:
            found[tuple(both[len(before) :])] += 1
    if found:
        return list(found.most_common(1)[0][0])
    return _ids(tokenizer, word if before_it else " " + word)


def _glued_anchors(word: str) -> tuple[str, ...]:
    """Characters that the word is glued to; none where its script has spaces."""
    code = ord(word[0]) if word else 0
    for ranges, anchors in _UNSPACED:
        if any(first <= code <= last for first, last in ranges):
            return tuple(anchors)
    return ()


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return list(ids)


def word_ids(verbalizer: Verbalizer, tokenizer: PreTrainedTokenizerBase, labels: Sequence[str]) -> list[list[int]]:
    """Token ids of the words of each label, in the order of `labels`; see `word_tokens`, without `several`."""
    found = word_tokens(verbalizer, tokenizer, labels)
    return [[ids[0] for ids in words] for words in found]


def word_tokens(
    verbalizer: Verbalizer,
    tokenizer: PreTrainedTokenizerBase,
    labels: Sequence[str],
    *,
    several: bool = False,
    glued: bool = False,
) -> list[list[tuple[int, ...]]]:
    """Tokens of the words of each label, in the order of `labels`.

    Parameters
    ----------
    several : whether a word may be several tokens
    glued : see `word_token`

    Raises
    ------
    PetError
        Naming every word that is several tokens and may not be, unknown to the tokenizer, a special token, or the
        same tokens as another word.
    """
    problems: list[str] = []
    taken: dict[tuple[int, ...], tuple[str, str]] = {}
    result: list[list[tuple[int, ...]]] = []
    for label in labels:
        result.append([])
        for word in verbalizer.words[label]:
            ids = tuple(word_token(tokenizer, word, glued=glued))
            place = verbalizer.places.get(label, "")
            where = f"{place}: " if place else ""
            problem = _token_problem(tokenizer, ids, several) or _taken_problem(taken, ids, label)
            if problem:
                problems.append(f"{where}word {word!r} of label {label!r} {problem}")
            else:
                taken[ids] = (word, label)
                result[-1].append(ids)
    if problems:
        raise PetError(problems)
    return result


def _token_problem(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], several: bool) -> str | None:
    """What is wrong with these ids as one word, by itself."""
    name = str(tokenizer.name_or_path)
    model = f"the tokenizer {name}" if name else "this tokenizer"
    if not ids:
        return f"is nothing to {model}; pick another word"
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in ids:
        return f"is unknown to {model} ({tokenizer.unk_token}); pick a word that is in its vocabulary"
    special = [i for i in ids if i in tokenizer.all_special_ids]
    if special:
        pieces = " ".join(map(str, tokenizer.convert_ids_to_tokens(special)))
        return f"is a special token of {model} ({pieces}); pick an ordinary word"
    if len(ids) > 1 and not several:
        pieces = " ".join(map(str, tokenizer.convert_ids_to_tokens(list(ids))))
        return f"is {len(ids)} tokens in {model} ({pieces}); pick a more frequent word that is one token"
    return None


def _taken_problem(taken: Mapping[tuple[int, ...], tuple[str, str]], ids: tuple[int, ...], label: str) -> str | None:
    if ids not in taken:
        return None
    other, owner = taken[ids]
    whose = "this label" if owner == label else f"label {owner!r}"
    tokens = "the same token as" if len(ids) == 1 else "the same tokens as"
    return f"is {tokens} {other!r} of {whose}; pick another word or take one away"
