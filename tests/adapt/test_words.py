"""Whole words that `pet adapt --add-words` adds to a tokenizer and its model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_text import training_text
from transformers import AutoModelForMaskedLM, AutoTokenizer

from pet.adapt import packing, words
from pet.adapt.adapt import adapt
from pet.adapt.settings import AdaptSettings, OutputSettings, StartSettings, TextSettings, TrainingSettings
from pet.errors import PetError
from pet.progress import Reporter

DOCUMENTS = list(training_text())
WORDPIECE = ["bert", "distilbert", "electra", "mpnet"]
NEW = ["refund", "invoices", "warranty"]  # tiny tokenizers have learned from other text
QUICK = TrainingSettings(max_steps=4, batch_tokens=64, micro_tokens=64, lr=1e-3, eval_tokens=64)


def load(folder: Path) -> tuple[Any, Any]:
    return AutoModelForMaskedLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def tokens(tokenizer: Any, text: str) -> list[str]:
    return list(tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]))


@pytest.fixture
def ticket_file(tmp_path: Path) -> Path:
    """Text with words that the tiny tokenizers split, and a name and a rare word among them."""
    path = tmp_path / "tickets.txt"
    lines = [f"My invoices {i} came late, and Kowalczyk wants a refund for the warranty of {i}." for i in range(40)]
    path.write_text("\n".join([*DOCUMENTS[:40], *lines, "A quixotic refund."]), encoding="utf-8")
    return path


@pytest.mark.parametrize("family", WORDPIECE)
def test_added_words_are_whole_and_other_texts_keep_their_tokens(
    family: str, family_model: Callable[[str], Path], tmp_path: Path
) -> None:
    model, tokenizer = load(family_model(family))
    grown = words.grow_tokenizer(tokenizer, NEW)
    counts = np.bincount(np.concatenate(packing.encode(grown, DOCUMENTS)), minlength=len(grown))
    larger = words.grow_model(model, tokenizer, NEW, grown, counts).eval()
    larger.save_pretrained(tmp_path)
    grown.save_pretrained(tmp_path)
    larger, grown = load(tmp_path)
    assert larger.config.vocab_size == len(grown) == len(tokenizer) + 3
    assert [grown.tokenize(word) for word in NEW] == [[word] for word in NEW]
    assert grown.tokenize("invoice") == tokenizer.tokenize("invoice")
    assert grown.tokenize("refunds")[0] == "refund"
    text = f"{DOCUMENTS[0]} {tokenizer.mask_token} {DOCUMENTS[1]}"
    assert tokens(grown, text) == tokens(tokenizer, text)
    old, new = tokenizer(text, return_tensors="pt"), grown(text, return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(larger(**new).logits[..., : len(tokenizer)], model(**old).logits)


@pytest.mark.parametrize("tied", [True, False])
def test_new_vectors_are_the_means_of_the_pieces_and_the_bias_follows_the_frequency(
    tied: bool, tiny_model: Path
) -> None:
    model, tokenizer = load(tiny_model)
    if not tied:
        model.config.tie_word_embeddings = False
        model.cls.predictions.decoder.weight = torch.nn.Parameter(
            torch.randn_like(model.cls.predictions.decoder.weight)
        )
    grown = words.grow_tokenizer(tokenizer, NEW)
    counts = np.arange(1, len(grown) + 1)
    counts[-3:] = (1, 50, 10**4)
    with torch.no_grad():
        model.get_output_embeddings().bias.copy_(torch.from_numpy(2 * np.log1p(counts[:-3]) - 3))
    larger = words.grow_model(model, tokenizer, NEW, grown, counts)
    for before, after in zip(
        *([m.get_input_embeddings().weight, m.get_output_embeddings().weight] for m in (model, larger)), strict=True
    ):
        for place, word in enumerate(NEW, len(tokenizer)):
            pieces = tokenizer(word, add_special_tokens=False)["input_ids"]
            assert len(pieces) > 1
            torch.testing.assert_close(after[place], before[pieces].mean(dim=0))
    assert (larger.get_output_embeddings().weight is larger.get_input_embeddings().weight) == tied
    found = larger.get_output_embeddings().bias[-3:].detach().numpy()
    np.testing.assert_allclose(found, 2 * np.log1p(counts[-3:]) - 3, rtol=1e-4)


def test_frequent_words_are_no_names_rare_words_fragments_or_known_words(tiny_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    text = "Refunds by Kowalczyk: a refund isn't a pre-paid refund, the warranty2 xq zzgood, café invoices news {}"
    documents = {text.format(i): 1 for i in range(9)} | {"quixotic " * 90: 1, "invoices again": 50}
    assert words.frequent_words(documents, tokenizer, 9) == ["invoices", "refund", "zzgood", "cafe"]
    assert words.frequent_words(documents, tokenizer, 2) == ["invoices", "refund"]


def test_words_of_the_text_are_added_and_vocab_counts_them(ticket_file: Path, tiny_model: Path, tmp_path: Path) -> None:
    text, out = TextSettings((str(ticket_file),), held_out=0.05, length=32), tmp_path / "m"
    start = StartSettings(model=str(tiny_model), add_words="9", vocab=300)
    settings = AdaptSettings(text, start, QUICK, OutputSettings(str(out)))
    assert not adapt(settings, stop=iter([False, True]).__next__)["finished"]
    record = adapt(settings, Reporter("plain"))  # continues with the same words
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert record["finished"] and 3 <= record["words_added"] <= 9 and len(tokenizer) == record["vocabulary"] == 300
    assert "kowalczyk" not in tokenizer.vocab and "quixotic" not in tokenizer.vocab
    assert [tokenizer.tokenize(word) for word in NEW] == [[word] for word in NEW]
    assert load_file(out / "model.safetensors")["bert.embeddings.word_embeddings.weight"].shape[0] == 300
    assert f"words added | {record['words_added']}" in (out / "README.md").read_text(encoding="utf-8")


def test_words_of_a_file_end_up_whole_in_any_case(
    ticket_file: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = tmp_path / "words.txt"
    listed.write_text("# Services\nRefund invoices  # and more\n\nterrible refund\nzebras\n", encoding="utf-8")
    text, out = TextSettings((str(ticket_file),), held_out=0.05, length=32), tmp_path / "m"
    start = StartSettings(model=str(tiny_model), add_words=str(listed), vocab=300)
    record = adapt(AdaptSettings(text, start, QUICK, OutputSettings(str(out))), Reporter("plain"))
    assert record["words_added"] == 3 and record["settings"]["start"]["add_words"] == "words.txt"
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert [len(tokenizer.tokenize(word)) for word in ("refund", "invoices", "terrible", "zebras")] == [1] * 4
    shown = capsys.readouterr().err
    assert "added 3 words" in shown and "not contain 1" in shown


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0", "--add-words 0: .* 1,000,000"),
        ("-5", "--add-words -5"),
        ("9" * 5000, "--add-words 9"),
        ("no.txt", "no.txt: no such file"),
        ("# nothing", "words.txt: .*no words"),
        ("fine\nhigh-end", "words.txt, line 2: high-end"),
        ("don't", "words.txt, line 1: don't"),
    ],
)
def test_words_that_cannot_be_added_are_named_with_their_line(
    content: str, message: str, tiny_model: Path, tmp_path: Path
) -> None:
    listed = tmp_path / "words.txt"
    listed.write_text(content, encoding="utf-8")
    is_file = "words.txt" in message
    with pytest.raises(PetError, match=message):
        wanted = words.read_words(str(listed) if is_file else content)
        words.choose_words(wanted, DOCUMENTS, AutoTokenizer.from_pretrained(tiny_model), "m")


def test_vocabularies_that_are_not_wordpiece_are_refused(family_model: Callable[[str], Path]) -> None:
    for family, kind in (("roberta", "BPE"), ("xlm-r", "Unigram")):
        tokenizer = AutoTokenizer.from_pretrained(family_model(family))
        with pytest.raises(PetError, match=f"--add-words: .* big-model is {kind}.* leave"):
            words.choose_words(5, DOCUMENTS, tokenizer, "big-model")


def test_words_cannot_be_added_from_scratch() -> None:
    with pytest.raises(PetError, match=r"--add-words.*--model"):
        StartSettings(layers=2, hidden=32, vocab=300, add_words="5")
