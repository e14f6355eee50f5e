"""Prompt-based continued pretraining (`--method pcp`): what it trains on, its stages, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_run import interrupted, pet, refused, run_options, same_files, write_inputs
from tiny_text import news_rows

from pet.cloze.ragged import Encoded, Ragged
from pet.members.continued import PseudoLabeled, fill, filled_texts, hide_words
from pet.training.masking import MaskingRule

PCP = ("--method", "pcp", "--set", "pcp_steps=3", "--set", "pcp_batch=4", "-q")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("pcp") / "in")


@pytest.fixture(scope="module")
def finished(inputs: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("done") / "run"
    pet(*run_options(inputs, tiny_model), *PCP, "--baselines", "-o", folder)
    return folder


# ---- filled patterns -------------------------------------------------------------------------


def test_a_word_is_written_into_the_blank_of_each_row():
    """Two rows, with the mask (id 4) at positions 1 and 0."""
    rows = Ragged.from_rows([[2, 4, 7], [4, 8]])
    ordinary = np.array([False, False, True, False, True])
    encoded = Encoded(rows, np.zeros(5, np.int8), ordinary, np.array([1, 0]), np.zeros(2, bool))
    filled = fill(encoded, Ragged.from_rows([[50], [60]]))
    assert [filled.ids[0].tolist(), filled.ids[1].tolist()] == [[2, 50, 7], [60, 8]]
    several = fill(encoded, Ragged.from_rows([[50, 51], [60, 61, 62]]))
    assert [several.ids[0].tolist(), several.ids[1].tolist()] == [[2, 50, 51, 7], [60, 61, 62, 8]]
    assert several.ordinary.tolist() == [False, False, False, True, False, False, False, True]
    assert rows.values.tolist() == [2, 4, 7, 4, 8]  # unchanged


def test_a_text_with_several_labels_gets_the_word_of_one_of_them():
    rows = Ragged.from_rows([[2, 4, 7]] * 40)
    ordinary = np.tile([False, False, True], 40)
    encoded = Encoded(rows, np.zeros(120, np.int8), ordinary, np.full(40, 1), np.zeros(40, bool))
    sets = np.tile([[True, False, True], [False, True, False]], (20, 1))
    encoder = SimpleNamespace(encode=lambda tokens, rows: encoded)
    pvp: Any = SimpleNamespace(encoder=encoder, names=None, first_words=((50,), (60,), (70, 71)))
    filled, sizes = filled_texts(pvp, PseudoLabeled({}, sets), np.arange(40), np.random.default_rng(0))
    words = [tuple(filled.ids[row].tolist()[1 : 1 + size]) for row, size in enumerate(sizes)]
    assert set(words[::2]) == {(50,), (70, 71)} and set(words[1::2]) == {(60,)}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_words_of_the_text_and_label_words_are_hidden(share: float):
    ids = np.array([[2, 50, 7, 8], [2, 60, 9, 9]], dtype=np.int32)
    ordinary = np.array([[False, False, True, True], [False, False, True, True]])
    rule = MaskingRule(4, np.arange(10, 100), probability=0.5, mask_share=1.0, random_share=0.0)
    batch = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    made = hide_words(batch, ordinary, (np.array([1, 1]), np.array([1, 1])), rule, share, np.random.default_rng(1))
    hidden = set(zip(made["rows"].tolist(), made["positions"].tolist(), strict=True))
    assert {(0, 1), (1, 1)} <= hidden if share else not hidden & {(0, 1), (1, 1)}
    assert hidden - {(0, 1), (1, 1)}
    for row, position, target in zip(made["rows"], made["positions"], made["targets"], strict=True):
        assert made["input_ids"][row, position] == 4 and ids[row, position] == target


def test_all_tokens_of_a_label_word_are_hidden_together():
    ids = np.array([[2, 50, 51, 8], [60, 7, 9, 9]], dtype=np.int32)
    ordinary = np.array([[False, False, False, True], [False, True, True, True]])
    rule = MaskingRule(4, np.arange(10, 100), probability=0.0)
    batch = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    made = hide_words(batch, ordinary, (np.array([1, 0]), np.array([2, 1])), rule, 1.0, np.random.default_rng(1))
    places = zip(made["rows"].tolist(), made["positions"].tolist(), made["targets"].tolist(), strict=True)
    assert [place for place in places if not ordinary[place[:2]]] == [(0, 1, 50), (0, 2, 51), (1, 0, 60)]


# ---- a run -----------------------------------------------------------------------------------


def test_members_start_from_the_continued_model_and_learn_from_labeled_texts_only(finished: Path):
    stages = json.loads((finished / "manifest.json").read_text())["stages"]
    assert "g1/pretrained" in stages and "g1/examples" not in stages
    assert (finished / "g1" / "pretrained" / "model.safetensors").is_file()
    for name in ("p1-r1", "p2-r1"):
        assert json.loads((finished / "g1" / name / "member.json").read_text())["labeled"] == 12
        first, second = (np.load(finished / g / name / "pool-logits.npy") for g in ("g0", "g1"))
        assert not np.allclose(first, second)
    assert stages["student"]["info"]["generation"] == 1
    found = json.loads((finished / "metrics.json").read_text())
    assert found["method"] == "pcp" and found["generation"] == 1
    assert {"pet", "zero-shot", "supervised"} <= set(found["baselines"])


def test_a_finished_run_labels_new_texts_as_it_labeled_the_pool(finished: Path, inputs: Path, tmp_path: Path):
    pet("label", finished, "--input", inputs / "pool.jsonl", "-o", tmp_path / "labels.parquet", "-q")
    now = pq.read_table(tmp_path / "labels.parquet", columns=["id", "label"]).to_pylist()
    assert now == pq.read_table(finished / "g1" / "labels.parquet", columns=["id", "label"]).to_pylist()


@pytest.mark.parametrize("made", [6, 8])
def test_an_interrupted_run_resumes_to_the_same_bytes(
    made: int, finished: Path, inputs: Path, tiny_model: Path, tmp_path: Path
):
    run = (*run_options(inputs, tiny_model), *PCP, "--baselines", "-o", tmp_path / "run")
    interrupted(made, *run)
    pet(*run)
    same_files(tmp_path / "run", finished)


# ---- what it refuses -------------------------------------------------------------------------


def test_tunings_without_weights_of_their_own_are_refused(inputs: Path, tiny_model: Path, tmp_path: Path):
    run = (*run_options(inputs, tiny_model), *PCP, "--tuning", "bitfit")
    message = refused(*run, "-o", tmp_path / "run")
    assert "pcp" in message and "--tuning full" in message and not (tmp_path / "run").exists()


def test_models_that_are_not_masked_are_refused(inputs: Path, family_model: Callable[[str], Path], tmp_path: Path):
    message = refused(*run_options(inputs, family_model("gpt2")), *PCP, "-o", tmp_path / "run")
    assert "masked language model" in message and "--method pet" in message


@pytest.mark.parametrize(("missing", "cure"), [("train", "--train"), ("unlabeled", "--unlabeled")])
def test_missing_texts_are_refused(missing: str, cure: str, inputs: Path, tiny_model: Path, tmp_path: Path):
    parts = [part for part in ("train", "unlabeled") if part != missing]
    message = refused(*run_options(inputs, tiny_model, parts=parts), *PCP, "-o", tmp_path / "run")
    assert "--method pcp" in message and cure in message


def test_the_estimator_knows_the_method(tiny_model: Path):
    from pet import PetClassifier

    rows = news_rows()
    texts, labels = [row["text"] for row in rows], [row["label"] for row in rows]
    settings = {"steps": 2, "student_steps": 2, "pcp_steps": 2, "max_length": 64}
    model = PetClassifier(
        patterns=["{text} It is {mask}."], model=str(tiny_model), method="pcp", settings=settings, device="cpu",
        verbalizer={label: label.lower() for label in sorted(set(labels))},
    )  # fmt: skip
    assert model.fit(texts[:8], labels[:8], unlabeled=texts[8:]).results_["generation"] == 1
