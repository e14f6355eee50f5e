"""Looking words up as they stand in running text, and what is said about those that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from families import FAMILIES
from tiny_text import WORDS

from pet.cloze.words import word_ids, word_token
from pet.errors import PetError
from pet.task.verbalizer import Verbalizer

FamilyModel = Callable[[str], Path]


class Characters:
    """A tokenizer of words and marks between spaces that counts from 0, for exact ids.

    Chinese characters are tokens by themselves, or with their neighbour where the pair is in the list.
    """

    unk_token_id = 9
    unk_token = "[UNK]"
    all_special_ids = (9, 10)
    name_or_path = "characters"

    def __init__(self) -> None:
        tokens = [
            "zero",
            "the",
            "was",
            "and",
            "it",
            "of",
            "bad",
            "好",
            "差",
            "[UNK]",
            "[MASK]",
            "是好",
            "是",
            "很",
        ]
        self.vocab = {token: i for i, token in enumerate(tokens)}

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        ids: list[int] = []
        for word in text.split():
            pieces = [word] if word.isascii() or word in self.vocab else list(word)
            ids += [self.vocab.get(piece, self.unk_token_id) for piece in pieces]
        return {"input_ids": ids}

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [list(self.vocab)[i] for i in ids]


def load(path: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_word_is_one_token_in_running_text(family: str, family_model: FamilyModel) -> None:
    tokenizer = load(family_model(family))
    sentence = "the news of the day was " + " ".join(WORDS)
    in_text = tokenizer(sentence, add_special_tokens=False)["input_ids"]
    found = [word_token(tokenizer, word) for word in WORDS]
    assert [len(ids) for ids in found] == [1] * len(WORDS)
    assert [ids[0] for ids in found] == in_text[-len(WORDS) :]


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_words_of_several_tokens_are_all_reported(family: str, family_model: FamilyModel) -> None:
    tokenizer = load(family_model(family))
    verbalizer = Verbalizer({"A": ("good", "xqzvkj"), "B": ("bad", "wvxqjz")}, {"A": "t.yaml:3", "B": "t.yaml:4"})
    with pytest.raises(PetError) as caught:
        word_ids(verbalizer, tokenizer, ["A", "B"])
    first, second = caught.value.problems
    assert first.startswith("t.yaml:3: word 'xqzvkj' of label 'A' is ")
    assert second.startswith("t.yaml:4: word 'wvxqjz' of label 'B' is ")
    for problem in (first, second):
        assert ("tokens in" in problem and "pick a more frequent word" in problem) or "is unknown" in problem


def test_the_order_is_that_of_the_labels(tiny_model: Path) -> None:
    tokenizer = load(tiny_model)
    words = Verbalizer({"A": ("good", "great"), "B": ("bad",)})
    good, great, bad = (word_token(tokenizer, word)[0] for word in ("good", "great", "bad"))
    assert word_ids(words, tokenizer, ["A", "B"]) == [[good, great], [bad]]
    assert word_ids(words, tokenizer, ["B", "A"]) == [[bad], [good, great]]


@pytest.mark.parametrize(
    ("words", "whose"),
    [
        ({"A": ("good",), "B": ("Good",)}, "label 'A'"),
        ({"A": ("good", "GOOD"), "B": ("bad",)}, "this label"),
    ],
)
def test_one_token_for_two_words(tiny_model: Path, words: dict[str, tuple[str, ...]], whose: str) -> None:
    tokenizer = load(tiny_model)  # it makes all letters small
    with pytest.raises(PetError, match=f"is the same token as 'good' of {whose}"):
        word_ids(Verbalizer(words), tokenizer, ["A", "B"])


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_special_tokens_are_no_words(family: str, family_model: FamilyModel) -> None:
    tokenizer = load(family_model(family))
    words = Verbalizer({"A": (tokenizer.mask_token,), "B": ("bad",)})
    with pytest.raises(PetError) as caught:
        word_ids(words, tokenizer, ["A", "B"])
    (problem,) = caught.value.problems
    assert "is a special token of" in problem
    assert tokenizer.mask_token in problem


def test_token_id_zero_is_a_word() -> None:
    words = Verbalizer({"A": ("zero",), "B": ("bad",)})
    assert word_ids(words, Characters(), ["A", "B"]) == [[0], [6]]  # type: ignore[arg-type]


def test_unknown_words() -> None:
    words = Verbalizer({"A": ("zero",), "B": ("strange",)})
    with pytest.raises(PetError, match=r"word 'strange' of label 'B' is unknown to .*\[UNK\]"):
        word_ids(words, Characters(), ["A", "B"])  # type: ignore[arg-type]


def test_scripts_without_spaces_are_glued_and_one_odd_anchor_does_no_harm() -> None:
    # "是好" is a token of its own here; the other anchors show that "好" is one, too
    assert word_token(Characters(), "好") == [7]  # type: ignore[arg-type]
    assert word_token(Characters(), "差") == [8]  # type: ignore[arg-type]


class Marked(Characters):
    """As SentencePiece does it: a word after a space is another token than one glued to its neighbour."""

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        ids: list[int] = []
        for word in text.split():
            ids += [50 + ord(word[0]), *(ord(char) for char in word[1:])]
        return {"input_ids": ids}


@pytest.mark.parametrize("word", ["好", "カ", "の", "ก", "ກ", "ក", "က"])
def test_glued_words_have_no_mark(word: str) -> None:
    assert word_token(Marked(), word) == [ord(word)]  # type: ignore[arg-type]


@pytest.mark.parametrize("word", ["a", "é", "д", "한", "ا"])
def test_spaced_words_have_the_mark(word: str) -> None:
    assert word_token(Marked(), word) == [50 + ord(word)]  # type: ignore[arg-type]
