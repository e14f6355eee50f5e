"""The text to train on: repeats, held-out documents and packing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from pet.adapt import packing
from pet.adapt.prepare import hold_out, read_repeats
from pet.errors import PetError


def test_held_out_documents_and_the_others_make_up_the_text() -> None:
    documents = [str(i) for i in range(50)]
    training, held = hold_out(documents, 0.1, seed=3)
    assert len(held) == 5 and sorted(training + held) == sorted(documents)
    assert (training, held) == hold_out(documents, 0.1, seed=3)
    assert len(hold_out(["a", "b"], 0.9, 0)[0]) == 1
    with pytest.raises(PetError, match=r"1 document.*--document"):
        hold_out(["a"], 0.1, 0)


@pytest.mark.parametrize(
    ("repeat", "message"),
    [
        ("a.txt", "SOURCE=N"),
        ("a.txt=0", "N"),
        ("a.txt=1001", "1000"),
        ("a.txt=" + "9" * 5000, "1000"),
        ("b.txt=2", "--text"),
    ],
)
def test_a_repeat_without_a_number_or_a_source_is_refused(repeat: str, message: str) -> None:
    with pytest.raises(PetError, match=rf"--repeat {repeat[:8]}.*: .*{message}"):
        read_repeats([repeat], ["a.txt"])


def test_packing_keeps_every_token_without_padding() -> None:
    documents = [np.arange(10 * i, 10 * i + i + 1, dtype=np.int32) for i in range(1, 8)]
    stream = packing.join(documents, [3], seed=0)
    assert sorted(stream[stream != 3]) == sorted(np.concatenate(documents)[np.concatenate(documents) != 3])
    blocks = packing.pack(stream, 8, [1], [2])
    body = blocks[:, 1:-1].reshape(-1)
    assert (blocks[:, 0] == 1).all() and (blocks[:, -1] == 2).all() and blocks.shape[1] == 8
    assert (body[: len(stream)] == stream).all()
    assert (body[len(stream) :] == stream[: len(body) - len(stream)]).all()  # filled up from the beginning


def test_a_short_text_is_one_short_sequence_and_an_empty_one_is_refused() -> None:
    assert packing.pack(np.array([7, 8]), 16, [1], [2]).tolist() == [[1, 7, 8, 2]]
    with pytest.raises(PetError, match="no tokens"):
        packing.pack(np.array([], dtype=np.int32), 16, [1], [2])
    with pytest.raises(PetError, match="--length 2"):
        packing.pack(np.array([7]), 2, [1], [2])


def test_sequences_without_words_are_left_out() -> None:
    sequences = np.array([[1, 7, 2], [1, 3, 2], [1, 8, 2]])
    assert packing.with_words(sequences, [1, 2, 3], "it").tolist() == [[1, 7, 2], [1, 8, 2]]
    with pytest.raises(PetError, match="it has no tokens"):
        packing.with_words(sequences[1:2], [1, 2, 3], "it")


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-r", "albert"])
def test_special_tokens_and_word_starts_are_found_for_each_tokenizer(
    family: str, family_model: Callable[[str], Path]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(family_model(family))
    before, after = packing.frame(tokenizer)
    inner = tokenizer("the river", add_special_tokens=False)["input_ids"]
    assert tokenizer("the river")["input_ids"] == [*before, *inner, *after]
    ids = tokenizer(" the zzz river", add_special_tokens=False)["input_ids"]
    words = np.count_nonzero(~packing.continuations(tokenizer)[ids])
    assert words == 3 < len(ids)
