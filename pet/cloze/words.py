"""The tokens of label words in running text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pet.errors import PetError
from pet.task.verbalizer import Verbalizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Words to put before a label word to find its tokens in running text.
_ANCHORS = ("the", "was", "and", "it", "of")

# Scripts written without spaces: ranges of code points, and common characters of the script to put
# directly before a label word.
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


# Characters to put before a word if the pattern has no space before it.
_SIGNS = ("(", '"', "-")


def word_token(tokenizer: PreTrainedTokenizerBase, word: str, *, continuation: bool = False) -> list[int]:
    """Return the token ids of a word in running text.

    The word is taken to follow a space, or directly follow other text in scripts without spaces and if
    `continuation` is set. The ids are found by probing, which works for any tokenizer: the ids of an anchor
    plus the word, minus those of the anchor. An anchor may merge with the word, so several are tried and
    the majority wins.

    Returns
    -------
    list of int, with several ids for a multi-token word. An id may be 0.
    """
    before_it = _unspaced_anchors(word) or (_SIGNS if continuation else ())
    starts = [(anchor, anchor + word) for anchor in before_it] or [(anchor, f"{anchor} {word}") for anchor in _ANCHORS]
    found: Counter[tuple[int, ...]] = Counter()
    for anchor, joined in starts:
        before, both = _ids(tokenizer, anchor), _ids(tokenizer, joined)
        if before and both[: len(before)] == before:
            found[tuple(both[len(before) :])] += 1
    if found:
        return list(found.most_common(1)[0][0])
    return _ids(tokenizer, word if before_it else " " + word)


def is_unspaced(word: str) -> bool:
    """Return True if the word's script is written without spaces.

    Examples
    --------
    >>> is_unspaced("词"), is_unspaced("word")
    (True, False)
    """
    return bool(_unspaced_anchors(word))


def whole_word(word: str) -> re.Pattern[str]:
    """Return what finds a word in a text where it is not a part of another word, as `no` is in `not` and in `know`.

    Scripts without spaces have no such parts, and signs like those of `C++` end a word themselves.

    Examples
    --------
    >>> [whole_word("no").search(text) is not None for text in ("no.", "i do not know")]
    [True, False]
    >>> whole_word("c++").findall("c, c++11 and objc++")
    ['c++']
    """
    before = r"(?<!\w)" if _is_spaced(word[0]) else ""
    after = r"(?!\w)" if _is_spaced(word[-1]) else ""
    return re.compile(f"{before}{re.escape(word)}{after}")


def _is_spaced(character: str) -> bool:
    return bool(re.match(r"\w", character)) and not is_unspaced(character)


def _unspaced_anchors(word: str) -> tuple[str, ...]:
    """Return characters to put directly before the word; none if its script uses spaces."""
    code = ord(word[0]) if word else 0
    for ranges, anchors in _UNSPACED:
        if any(first <= code <= last for first, last in ranges):
            return tuple(anchors)
    return ()


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return list(ids)


def word_tokens(
    verbalizer: Verbalizer,
    tokenizer: PreTrainedTokenizerBase,
    labels: Sequence[str],
    *,
    continuation: bool = False,
) -> list[list[tuple[int, ...]]]:
    """Return the tokens of each label's words, in the order of `labels`.

    Parameters
    ----------
    continuation : see `word_token`

    Returns
    -------
    for each label, a tuple of token ids per word

    Raises
    ------
    PetError
        Names every word that is unknown to the tokenizer, a special token, or has the same tokens as another word.
    """
    problems: list[str] = []
    taken: dict[tuple[int, ...], tuple[str, str]] = {}
    result: list[list[tuple[int, ...]]] = []
    for label in labels:
        result.append([])
        for word in verbalizer.words[label]:
            ids = tuple(word_token(tokenizer, word, continuation=continuation))
            place = verbalizer.places.get(label, "")
            where = f"{place}: " if place else ""
            problem = _token_problem(tokenizer, ids) or _taken_problem(taken, ids, label)
            if problem:
                problems.append(f"{where}word {word!r} of label {label!r} {problem}")
            else:
                taken[ids] = (word, label)
                result[-1].append(ids)
    if problems:
        raise PetError(problems)
    return result


def _token_problem(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str | None:
    """Return what is wrong with these ids as a label word, if anything."""
    name = str(tokenizer.name_or_path)
    model = f"the tokenizer {name}" if name else "this tokenizer"
    if not ids:
        return f"has no tokens in {model}; choose another word"
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in ids:
        return f"is unknown to {model} ({tokenizer.unk_token}); choose a word in its vocabulary"
    special = [i for i in ids if i in tokenizer.all_special_ids]
    if special:
        pieces = " ".join(map(str, tokenizer.convert_ids_to_tokens(special)))
        return f"is a special token of {model} ({pieces}); choose an ordinary word"
    return None


def _taken_problem(taken: Mapping[tuple[int, ...], tuple[str, str]], ids: tuple[int, ...], label: str) -> str | None:
    if ids not in taken:
        return None
    other, owner = taken[ids]
    whose = "this label" if owner == label else f"label {owner!r}"
    tokens = "token" if len(ids) == 1 else "tokens"
    return f"has the same {tokens} as {other!r} of {whose}; choose another word or remove one"
