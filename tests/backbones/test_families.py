"""The tiny models have the properties that other tests rely on."""

from __future__ import annotations

import string
from collections import Counter
from pathlib import Path

import pytest
import torch
from families import FAMILIES, POSITIONS, build_family
from tiny_text import LABELS, WORDS
from transformers import AutoModelForMaskedLM, AutoTokenizer

# name -> how the tokenizer writes the space before a word
SPACE_MARK = {
    "bert": "",
    "roberta": "Ġ",
    "xlm-r": "▁",
    "albert": "▁",
    "electra": "",
    "distilbert": "",
    "deberta-v2": "▁",
    "deberta-v3": "▁",
    "modernbert": "Ġ",
    "mpnet": "",
}
FRAMES = {
    "roberta": "<s> a </s> </s> b </s>",
    "xlm-r": "<s> a </s> </s> b </s>",
    "mpnet": "<s> a </s> </s> b </s>",
}

every_family = pytest.mark.parametrize("name", list(FAMILIES))


@every_family
def test_words_are_single_tokens_in_running_text(family_model, name):
    tokenizer = AutoTokenizer.from_pretrained(family_model(name))
    for word in WORDS:
        ids = tokenizer(f"It was {word}", add_special_tokens=False)["input_ids"]
        before = tokenizer("It was", add_special_tokens=False)["input_ids"]
        assert ids[: len(before)] == before
        assert tokenizer.convert_ids_to_tokens(ids[len(before) :]) == [SPACE_MARK[name] + word]


@every_family
def test_the_model_runs_on_a_text_with_a_mask(family_model, name):
    folder = family_model(name)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForMaskedLM.from_pretrained(folder)
    batch = tokenizer(f"The topic is {tokenizer.mask_token}.", return_tensors="pt")
    assert (batch["input_ids"] == tokenizer.mask_token_id).sum() == 1
    with torch.no_grad():
        logits = model(**batch).logits
    assert logits.shape == (*batch["input_ids"].shape, len(tokenizer))
    assert torch.isfinite(logits).all()
    assert logits.std() > 0


@every_family
def test_the_model_accepts_the_longest_input(family_model, name):
    folder = family_model(name)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForMaskedLM.from_pretrained(folder)
    batch = tokenizer(" good" * 200, truncation=True, max_length=POSITIONS, return_tensors="pt")
    assert batch["input_ids"].shape == (1, POSITIONS)
    with torch.no_grad():
        assert torch.isfinite(model(**batch).logits).all()


@every_family
def test_text_pairs_are_framed_like_the_real_family(family_model, name):
    tokenizer = AutoTokenizer.from_pretrained(family_model(name))
    encoded = tokenizer("good", "bad")
    tokens = tokenizer.convert_ids_to_tokens(encoded["input_ids"])
    assert _collapsed(tokens) == FRAMES.get(name, "[CLS] a [SEP] b [SEP]")
    assert ("token_type_ids" in encoded) == FAMILIES[name].token_types
    if FAMILIES[name].token_types:
        end_of_first = encoded["input_ids"].index(tokenizer.sep_token_id)
        expected = [0] * (end_of_first + 1) + [1] * (len(tokens) - end_of_first - 1)
        assert encoded["token_type_ids"] == expected


def _collapsed(tokens: list[str]) -> str:
    """The frame, with each run of ordinary tokens written as one letter."""
    shape: list[str] = []
    letters = iter("ab")
    for token in tokens:
        if token.startswith(("<", "[")):
            shape.append(token)
        elif not shape[-1].isalpha():
            shape.append(next(letters))
    return " ".join(shape)


@every_family
def test_the_mask_absorbs_the_preceding_space_like_the_real_family(family_model, name):
    tokenizer = AutoTokenizer.from_pretrained(family_model(name))
    mask = tokenizer.mask_token
    added = tokenizer.backend_tokenizer.get_added_tokens_decoder()[tokenizer.mask_token_id]
    assert added.lstrip == FAMILIES[name].mask_lstrip
    if FAMILIES[name].mask_lstrip:
        continuation = tokenizer(f"It was{mask}", add_special_tokens=False)["input_ids"]
        assert tokenizer(f"It was {mask}", add_special_tokens=False)["input_ids"] == continuation


@every_family
def test_printable_characters_are_in_the_vocabulary(family_model, name):
    tokenizer = AutoTokenizer.from_pretrained(family_model(name))
    ids = tokenizer(" ".join(string.printable.split()[0]), add_special_tokens=False)["input_ids"]
    assert tokenizer.unk_token_id not in ids


def test_building_a_model_twice_gives_the_same_bytes(family_model, tmp_path: Path):
    for name in ("bert", "roberta", "xlm-r"):
        first, again = family_model(name), build_family(name, tmp_path / name)
        for file in ("tokenizer.json", "config.json", "model.safetensors"):
            assert (first / file).read_bytes() == (again / file).read_bytes(), (name, file)


def test_news_rows_are_balanced_and_separable_by_words(news_rows):
    assert [row["label"] for row in news_rows[:4]] == list(LABELS)
    assert len({row["text"] for row in news_rows}) == len({row["id"] for row in news_rows}) == 40
    assert Counter(row["label"] for row in news_rows) == dict.fromkeys(LABELS, 10)
