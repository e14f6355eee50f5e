"""Ordinary sequence classifiers: their text, their folder, their answers."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from families import FAMILIES, POSITIONS
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from pet.errors import PetError
from pet.student.classifier import (
    Classifier,
    TextInput,
    encode_texts,
    load_classifier,
    new_classifier,
)
from pet.task.grammar import parse_template

LABELS = ("no", "yes, more", "3")
FIELDS = ("a", "b")
ONE = TextInput(FIELDS, parse_template("{a|strip_punct}: {b}", FIELDS, mask=False))
PAIR = TextInput(FIELDS, parse_template("{a} || He said: {b}", FIELDS, mask=False))
TABLE = datasets.Dataset.from_list(
    [
        {"a": "The river rose!", "b": "the bridge was closed"},
        {"a": "", "b": "no"},
        {"a": "A [SEP] B", "b": "{a} [MASK] </s> <mask>"},
        {"a": "good news " * 60, "b": "bad " * 70},
        {"a": "   ", "b": ""},
    ]
)


def _fresh(folder: Path, text_input: TextInput, max_length: int = 48) -> Classifier:
    torch.manual_seed(0)
    classifier = new_classifier(str(folder), text_input, LABELS, max_length)
    with torch.no_grad():  # so that texts get answers that are clearly different
        for parameter in classifier.model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return classifier


# --- text --------------------------------------------------------------------------------------------


def test_render():
    row = {"a": " Is it? ", "b": "No {a}"}
    assert ONE.render(row) == ["Is it: No {a}"]
    assert PAIR.render(row) == ["Is it?", "He said: No {a}"]
    plain = TextInput(FIELDS, parse_template("{a} {b}", FIELDS, mask=False))
    assert plain.render({"a": "", "b": "x"}) == ["x"]
    assert plain.render({"a": "x", "b": " "}) == ["x"]


@pytest.mark.parametrize("name", list(FAMILIES))
@pytest.mark.parametrize("text_input", [ONE, PAIR], ids=["one", "pair"])
def test_encode_texts_is_what_the_tokenizer_does(family_model, name, text_input):
    tokenizer = AutoTokenizer.from_pretrained(family_model(name))
    encoded = encode_texts(TABLE, text_input, tokenizer, 40, batch_size=2)
    for i, row in enumerate(TABLE):
        own = tokenizer(*text_input.render(row), truncation=True, max_length=40, split_special_tokens=True)
        assert list(encoded.ids[i]) == own["input_ids"]
        types = encoded.types[encoded.ids.offsets[i] : encoded.ids.offsets[i + 1]]
        assert list(types) == own.get("token_type_ids", [0] * len(own["input_ids"]))
        assert len(encoded.ids[i]) <= 40
    assert not encoded.ordinary.any()


def test_encode_texts_of_an_empty_table(tiny_model):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    assert len(encode_texts(TABLE.select([]), PAIR, tokenizer, 40)) == 0


# --- scores ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bert", "roberta", "mpnet", "deberta-v3"])
def test_scores_do_not_depend_on_the_batches(family_model, name, accelerator):
    classifier = _fresh(family_model(name), PAIR)
    one_by_one = [classifier.scores(TABLE.select([i]), accelerator)[0] for i in range(len(TABLE))]
    for max_tokens in (1, 96, 8192):
        scores = classifier.scores(TABLE, accelerator, max_tokens=max_tokens)
        np.testing.assert_allclose(scores, one_by_one, atol=1e-5)
    probabilities = classifier.probabilities(TABLE, accelerator)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert classifier.scores(TABLE.select([]), accelerator).shape == (0, 3)


# --- folders -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(FAMILIES))
def test_saved_and_opened_again_it_answers_the_same(family_model, name, accelerator, tmp_path: Path):
    classifier = _fresh(family_model(name), PAIR)
    expected = classifier.scores(TABLE, accelerator)
    classifier.save(tmp_path)
    assert not list(tmp_path.glob("*.bin"))
    again = load_classifier(str(tmp_path))
    assert (again.labels, again.max_length, again.text_input) == (LABELS, 48, PAIR)
    np.testing.assert_array_equal(again.scores(TABLE, accelerator), expected)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert config["id2label"] == {str(i): label for i, label in enumerate(LABELS)}
    assert config["label2id"] == {label: i for i, label in enumerate(LABELS)}


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_plain_pipeline_gives_the_same_answers(family_model, name, accelerator, tmp_path: Path):
    classifier = _fresh(family_model(name), PAIR)
    classifier.save(tmp_path)
    probabilities = classifier.probabilities(TABLE, accelerator)
    pipe = pipeline("text-classification", str(tmp_path), device="cpu")
    assert pipe.tokenizer.model_max_length == 48
    for row, expected in zip(TABLE, probabilities, strict=True):
        text, pair = PAIR.render(row)
        answer = pipe({"text": text, "text_pair": pair}, top_k=None, truncation=True)
        found = {entry["label"]: entry["score"] for entry in answer}
        np.testing.assert_allclose([found[label] for label in LABELS], expected, atol=1e-5)


def test_the_folder_of_a_run_opens_its_student(tiny_model, tmp_path: Path):
    (tmp_path / "student").mkdir()
    _fresh(tiny_model, ONE).save(tmp_path / "student")
    assert load_classifier(str(tmp_path)).labels == LABELS


@pytest.mark.parametrize("name", ["bert", "roberta", "mpnet"])
def test_someone_elses_classifier_reads_the_field_text_up_to_its_positions(family_model, name, accelerator, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(family_model(name))
    tokenizer.model_max_length = int(1e30)  # as in folders that do not say
    tokenizer.save_pretrained(tmp_path)
    AutoModelForSequenceClassification.from_pretrained(family_model(name), num_labels=2).save_pretrained(tmp_path)
    classifier = load_classifier(str(tmp_path))
    assert classifier.max_length == POSITIONS
    assert classifier.text_input.fields == ("text",)
    table = datasets.Dataset.from_list([{"text": "good " * 500}, {"text": "bad"}])
    assert np.isfinite(classifier.scores(table, accelerator)).all()


def test_a_model_without_a_classification_head_is_refused(tiny_model):
    with pytest.raises(PetError, match="no trained classification head"):
        load_classifier(str(tiny_model))


def test_texts_longer_than_the_positions_are_refused(tiny_model):
    with pytest.raises(PetError, match=f"{POSITIONS} positions"):
        new_classifier(str(tiny_model), ONE, LABELS, POSITIONS + 1)


@pytest.mark.parametrize("note", ["{", "[]", '{"fields": ["a"]}', '{"fields": 3, "input": "{a}"}'])
def test_a_damaged_note_is_named(tiny_model, tmp_path: Path, note):
    _fresh(tiny_model, ONE).save(tmp_path)
    (tmp_path / "pet.json").write_text(note, encoding="utf-8")
    with pytest.raises(PetError, match=r"pet\.json: damaged"):
        load_classifier(str(tmp_path))
