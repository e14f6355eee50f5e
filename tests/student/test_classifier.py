"""Sequence classifiers: input text, files, predictions, and training."""

from __future__ import annotations

import json
from dataclasses import replace
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
    check_input,
    encode_texts,
    load_classifier,
    new_classifier,
)
from pet.student.distill import Distillation, fit_classifier, plan_rows
from pet.task.grammar import parse_template
from pet.training.device import make_accelerator
from pet.training.loop import Schedule

LABELS = ("no", "yes, more", "3")
FIELDS = ("a", "b")
ONE = TextInput(FIELDS, parse_template("{a|strip_punct}: {b}", FIELDS, mask=False))
PAIR = TextInput(FIELDS, parse_template("{a} || He said: {b}", FIELDS, mask=False))
BARE = TextInput(FIELDS, parse_template("{a} || {b}", FIELDS, mask=False))  # either text may be empty
TABLE = datasets.Dataset.from_list(
    [
        {"a": "The river rose!", "b": "the bridge was closed"},
        {"a": "", "b": "no"},
        {"a": "A [SEP] B", "b": "{a} [MASK] </s> <mask>"},
        {"a": "good news " * 60, "b": "bad " * 70},
        {"a": "   ", "b": ""},
        {"a": "good news " * 60, "b": " "},
    ]
)


def _fresh(folder: Path, text_input: TextInput, max_length: int = 48) -> Classifier:
    torch.manual_seed(0)
    classifier = new_classifier(str(folder), text_input, LABELS, max_length)
    with torch.no_grad():  # so that the scores of texts differ clearly
        for parameter in classifier.model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return classifier


# --- text --------------------------------------------------------------------------------------------


def test_fields_are_joined_as_in_the_template():
    row = {"a": " Is it? ", "b": "No {a}"}
    assert ONE.render(row) == ["Is it: No {a}"]
    assert PAIR.render(row) == ["Is it?", "He said: No {a}"]
    plain = TextInput(FIELDS, parse_template("{a} {b}", FIELDS, mask=False))
    assert plain.render({"a": "", "b": "x"}) == ["x"]
    assert plain.render({"a": "x", "b": " "}) == ["x"]


@pytest.mark.parametrize("name", list(FAMILIES))
@pytest.mark.parametrize("text_input", [ONE, PAIR, BARE], ids=["one", "pair", "bare"])
def test_texts_are_tokenized_as_in_a_pipeline(family_model, name, text_input):
    tokenizer = AutoTokenizer.from_pretrained(family_model(name))
    encoded = encode_texts(TABLE, text_input, tokenizer, 40, batch_size=2)
    for i, row in enumerate(TABLE):
        own = tokenizer(*text_input.render(row), truncation=True, max_length=40, split_special_tokens=True)
        assert list(encoded.ids[i]) == own["input_ids"]
        types = encoded.types[encoded.ids.offsets[i] : encoded.ids.offsets[i + 1]]
        assert list(types) == own.get("token_type_ids", [0] * len(own["input_ids"]))
        assert len(encoded.ids[i]) <= 40
    assert not encoded.ordinary.any()


def test_an_empty_table_has_no_tokens(tiny_model):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    assert len(encode_texts(TABLE.select([]), PAIR, tokenizer, 40)) == 0


# --- scores ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bert", "roberta", "mpnet", "deberta-v3"])
def test_scores_do_not_depend_on_batches(family_model, name, accelerator):
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
def test_a_saved_classifier_predicts_the_same(family_model, name, accelerator, tmp_path: Path):
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
@pytest.mark.parametrize("text_input", [PAIR, BARE], ids=["pair", "bare"])
def test_a_transformers_pipeline_predicts_the_same(family_model, name, text_input, accelerator, tmp_path: Path):
    classifier = _fresh(family_model(name), text_input)
    classifier.save(tmp_path)
    probabilities = classifier.probabilities(TABLE, accelerator)
    pipe = pipeline("text-classification", str(tmp_path), device="cpu")
    assert pipe.tokenizer.model_max_length == 48
    for row, expected in zip(TABLE, probabilities, strict=True):
        text, pair = text_input.render(row)
        answer = pipe({"text": text, "text_pair": pair}, top_k=None, truncation=True)
        found = {entry["label"]: entry["score"] for entry in answer}
        np.testing.assert_allclose([found[label] for label in LABELS], expected, atol=1e-5)


def test_the_folder_of_a_run_opens_as_its_student(tiny_model, tmp_path: Path):
    (tmp_path / "student").mkdir()
    _fresh(tiny_model, ONE).save(tmp_path / "student")
    assert load_classifier(str(tmp_path)).labels == LABELS


@pytest.mark.parametrize("name", ["bert", "roberta", "mpnet"])
def test_any_classifier_reads_the_field_text_up_to_its_position_limit(family_model, name, accelerator, tmp_path):
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
    with pytest.raises(PetError, match="student"):
        load_classifier(str(tiny_model))


def test_a_max_length_beyond_the_position_limit_is_refused(tiny_model):
    with pytest.raises(PetError, match=f"{POSITIONS} positions"):
        new_classifier(str(tiny_model), ONE, LABELS, POSITIONS + 1)


@pytest.mark.parametrize(
    ("template", "unread"),
    [
        ("good " * 50 + "{a} {b}", "a, b"),
        ("{a} " + "good " * 50 + "{b}", "b"),
        ("{b} " + "good " * 50, ""),
        ("good " * 50 + "|| {b}", ""),  # the longer segment is cut
    ],
)
def test_fields_that_fixed_words_leave_no_room_for_are_named(tiny_model, template, unread):
    text_input = TextInput(FIELDS, parse_template(template, FIELDS, mask=False))
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    if not unread:
        check_input(text_input, tokenizer, 48)
        return
    with pytest.raises(PetError, match=f"no room for {unread} in 48 tokens"):
        check_input(text_input, tokenizer, 48)
    check_input(text_input, tokenizer, 64)


@pytest.mark.parametrize("note", ["{", "[]", '{"fields": ["a"]}', '{"fields": 3, "input": "{a}"}'])
def test_a_damaged_pet_json_is_named(tiny_model, tmp_path: Path, note):
    _fresh(tiny_model, ONE).save(tmp_path)
    (tmp_path / "pet.json").write_text(note, encoding="utf-8")
    with pytest.raises(PetError, match=r"pet\.json"):
        load_classifier(str(tmp_path))


# --- training ----------------------------------------------------------------------------------------


def _fitted(folder: Path, table: datasets.Dataset, how: Distillation, **gold) -> tuple[dict, list[float]]:
    torch.manual_seed(0)
    classifier = new_classifier(str(folder), PAIR, LABELS, 24)
    targets = np.random.default_rng(0).dirichlet(np.ones(3), size=len(table))
    losses = fit_classifier(classifier, table, targets, how, make_accelerator("cpu", "fp32"), **gold)
    return classifier.model.state_dict(), losses


def test_only_the_texts_that_the_updates_use_are_tokenized(tiny_model, monkeypatch):
    rows = [{"a": f"text {i}", "b": "word " * (i % 9)} for i in range(300)]
    table, how = datasets.Dataset.from_list(rows), Distillation(Schedule(3, 1e-2, accumulation=2), 4, 2.0, 0.5)
    gold = (table.select([1, 2]), np.array([0, 2]))
    encoded: list[int] = []

    def counting(table: datasets.Dataset, *arguments, **options):
        encoded.append(len(table))
        return encode_texts(table, *arguments, **options)

    monkeypatch.setattr("pet.student.distill.encode_texts", counting)
    found, losses = _fitted(tiny_model, table, how, gold=gold)
    assert encoded == [3 * 2 * 4, 2] and len(losses) > 0
    # texts that are not used may be anything
    used, _ = plan_rows(how, 300, 1, 2)
    other = datasets.Dataset.from_list([row if i in used else {"a": "?", "b": "!"} for i, row in enumerate(rows)])
    again, _ = _fitted(tiny_model, other, how, gold=gold)
    assert all(torch.equal(found[name], again[name]) for name in found)


def test_planned_rows_follow_the_shuffled_batches():
    how = Distillation(Schedule(5, 1e-3, accumulation=3), 4, seed=7)
    soft, gold = plan_rows(how, 6, 2, 3)
    assert soft.shape == (15, 4) and gold.shape == (15, 2)
    epochs = soft.reshape(10, 6)
    assert all(sorted(epoch) == list(range(6)) for epoch in epochs)
    assert np.unique(gold).tolist() == [0, 1, 2]
    assert plan_rows(how, 6, 0, 0)[1].shape == (15, 0)
    assert not np.array_equal(plan_rows(replace(how, seed=8), 6, 2, 3)[0], soft)


def test_gold_rows_are_mixed_in_only_with_a_weight():
    gold = (TABLE, np.arange(5))
    schedule = Schedule(1, 1e-3)
    assert Distillation(schedule, 8, gold_weight=0.5).gold_batch(gold) == 2
    assert Distillation(schedule, 400, gold_weight=0.5).gold_batch(gold) == 5
    assert Distillation(schedule, 8, gold_weight=0.5).gold_batch(None) == 0
    assert Distillation(schedule, 8).gold_batch(gold) == 0
