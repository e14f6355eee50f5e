"""Very long texts are cut before they are tokenized, and keep their first tokens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from families import FAMILIES

from pet.backbones.load import load_tokenizer
from pet.cloze import tokens
from pet.cloze.beginning import beginnings
from pet.cloze.tokens import PlainTextTokenizer

MOST = 12
TEXTS = {
    "words": "The team won, but the market fell. " * 300,
    "no spaces": "abcdefghij" * 700,
    "one long word first": "x" * 5_000 + " and then words" * 20,
    "spaces": "one" + " " * 9_000 + "two three " * 50,
    "not Latin": "今日は天気がいい。" * 300,
    "combining marks": "e\u0301a\u0308 " * 2000,
}


@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_first_tokens_of_long_texts_are_those_of_the_whole_text(
    family: str, family_model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = PlainTextTokenizer(load_tokenizer(str(family_model(family))), MOST)
    texts = list(TEXTS.values())
    found = [plain.encode(texts, **how) for how in ({}, {"space_before": True}, {"continuation": True})]
    monkeypatch.setattr(tokens, "beginnings", lambda texts, *_: texts)
    assert found == [plain.encode(texts, **how) for how in ({}, {"space_before": True}, {"continuation": True})]


def test_little_of_a_long_text_is_tokenized() -> None:
    seen: list[int] = []

    def tokenize(texts: list[str]) -> list[list[str]]:
        seen.extend(map(len, texts))
        return [text.split() for text in texts]

    cut = beginnings(["word " * 100_000, "short"], 10, tokenize)  # type: ignore[arg-type]
    assert max(seen) < 2000
    assert cut[1] == "short"


def test_a_text_with_few_tokens_at_its_start_is_read_on() -> None:
    text = " " * 9_000 + "word " * 100
    assert "word" in beginnings([text], 10, lambda texts: [t.split() for t in texts])[0]  # type: ignore[misc]
