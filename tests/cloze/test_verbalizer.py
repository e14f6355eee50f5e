"""Tokens of label words in running text, and messages about words that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from families import FAMILIES
from tiny_text import WORDS

from pet.cloze.words import word_token, word_tokens
from pet.errors import PetError
from pet.task.verbalizer import Verbalizer

FamilyModel = Callable[[str], Path]


class Characters:
    """A tokenizer that splits at spaces and punctuation and numbers tokens from 0, for exact ids.

    Chinese characters are single tokens, or merge with a neighbor if the pair is in the vocabulary.
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
def test_a_word_has_one_token_in_running_text(family: str, family_model: FamilyModel) -> None:
    tokenizer = load(family_model(family))
    sentence = "the news of the day was " + " ".join(WORDS)
    in_text = tokenizer(sentence, add_special_tokens=False)["input_ids"]
    found = [word_token(tokenizer, word) for word in WORDS]
    assert [len(ids) for ids in found] == [1] * len(WORDS)
    assert [ids[0] for ids in found] == in_text[-len(WORDS) :]


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_word_outside_the_vocabulary_has_several_tokens_or_is_reported(
    family: str, family_model: FamilyModel
) -> None:
    tokenizer = load(family_model(family))
    verbalizer = Verbalizer({"A": ("good", "xqzvkj"), "B": ("bad", "wvxqjz")}, {"A": "t.yaml:3", "B": "t.yaml:4"})
    try:
        found = word_tokens(verbalizer, tokenizer, ["A", "B"])
    except PetError as error:
        first, second = error.problems
        assert first.startswith("t.yaml:3: word 'xqzvkj' of label 'A' is unknown")
        assert second.startswith("t.yaml:4: word 'wvxqjz' of label 'B' is unknown")
    else:
        assert [[len(word) > 1 for word in words] for words in found] == [[False, True], [False, True]]


def test_tokens_follow_the_order_of_the_labels(tiny_model: Path) -> None:
    tokenizer = load(tiny_model)
    words = Verbalizer({"A": ("good", "great"), "B": ("bad",)})
    good, great, bad = (word_token(tokenizer, word)[0] for word in ("good", "great", "bad"))
    assert word_tokens(words, tokenizer, ["A", "B"]) == [[(good,), (great,)], [(bad,)]]
    assert word_tokens(words, tokenizer, ["B", "A"]) == [[(bad,)], [(good,), (great,)]]


@pytest.mark.parametrize(
    ("words", "whose"),
    [
        ({"A": ("good",), "B": ("Good",)}, "label 'A'"),
        ({"A": ("good", "GOOD"), "B": ("bad",)}, "this label"),
    ],
)
def test_two_words_with_the_same_token_are_reported(
    tiny_model: Path, words: dict[str, tuple[str, ...]], whose: str
) -> None:
    tokenizer = load(tiny_model)  # lowercases its input
    with pytest.raises(PetError, match=f"same token as 'good' of {whose}"):
        word_tokens(Verbalizer(words), tokenizer, ["A", "B"])


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_special_token_is_rejected_as_a_word(family: str, family_model: FamilyModel) -> None:
    tokenizer = load(family_model(family))
    words = Verbalizer({"A": (tokenizer.mask_token,), "B": ("bad",)})
    with pytest.raises(PetError) as caught:
        word_tokens(words, tokenizer, ["A", "B"])
    (problem,) = caught.value.problems
    assert "special token" in problem
    assert tokenizer.mask_token in problem


def test_token_id_0_is_a_valid_word() -> None:
    words = Verbalizer({"A": ("zero",), "B": ("bad",)})
    assert word_tokens(words, Characters(), ["A", "B"]) == [[(0,)], [(6,)]]  # type: ignore[arg-type]


def test_an_unknown_word_is_reported() -> None:
    words = Verbalizer({"A": ("zero",), "B": ("strange",)})
    with pytest.raises(PetError, match=r"word 'strange' of label 'B' .*\[UNK\]"):
        word_tokens(words, Characters(), ["A", "B"])  # type: ignore[arg-type]


def test_words_in_unspaced_scripts_are_probed_without_a_space() -> None:
    # "是好" is a single token here; the other anchors show that "好" is one too
    assert word_token(Characters(), "好") == [7]  # type: ignore[arg-type]
    assert word_token(Characters(), "差") == [8]  # type: ignore[arg-type]


class Marked(Characters):
    """Like SentencePiece: a word after a space has a different token than one directly after other text."""

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        ids: list[int] = []
        for word in text.split():
            ids += [50 + ord(word[0]), *(ord(char) for char in word[1:])]
        return {"input_ids": ids}


@pytest.mark.parametrize("word", ["好", "カ", "の", "ก", "ກ", "ក", "က"])
def test_words_in_unspaced_scripts_have_no_word_start_marker(word: str) -> None:
    assert word_token(Marked(), word) == [ord(word)]  # type: ignore[arg-type]


@pytest.mark.parametrize("word", ["a", "é", "д", "한", "ا"])
def test_words_in_spaced_scripts_have_a_word_start_marker(word: str) -> None:
    assert word_token(Marked(), word) == [50 + ord(word)]  # type: ignore[arg-type]
