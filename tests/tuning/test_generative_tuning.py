"""Tuning methods on T5-like models, causal models and XLNet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import CAUSAL, ENCODER_DECODERS, PERMUTED
from small_run import TASK, pet, refused, run_options, write_inputs
from tiny_text import LABELS, news_rows

from pet.backbones.info import ModelInfo
from pet.backbones.kinds import open_model
from pet.backbones.load import load_tokenizer
from pet.cloze.pvp import PVP, bind_pattern
from pet.cloze.ragged import Ragged
from pet.cloze.tokens import TokenTable
from pet.members.scoring import score_rows
from pet.members.training import ClozeData, train_member
from pet.recipe import make_recipe
from pet.task.grammar import parse_template
from pet.task.pattern import Pattern
from pet.task.verbalizer import Verbalizer
from pet.tuning.members import LEARNED, Backbone, attach, encoder_options, read_member, save_member, start_member

CPU = torch.device("cpu")
ROWS = news_rows()
GOLD = np.array([LABELS.index(row["label"]) for row in ROWS])
WORDS = {"World": ("politics",), "Sports": ("sports",), "Business": ("business",), "Technology": ("technology",)}
CASES = [
    *((name, method) for name in ENCODER_DECODERS for method in ("lora", "prompt", "p-tuning")),
    *((name, method) for name in CAUSAL for method in ("lora", "prompt", "p-tuning", "prefix")),
    ("gpt2", "bitfit"),
    ("qwen2", "bitfit"),
    ("mamba", "lora-all"),
    *((name, method) for name in PERMUTED for method in ("lora-all", "prompt", "p-tuning", "bitfit")),
]
RATES = {"lora": 2e-2, "lora-all": 2e-2, "prompt": 0.2, "p-tuning": 2e-2, "prefix": 2e-2, "bitfit": 2e-2}
SMALL = {"prompt_length": 4, "prefix_length": 3, "prefix_hidden": 16}

pytestmark = pytest.mark.usefixtures("one_thread")


def recipe_of(method: str) -> Any:
    targets = "attention"
    if method == "lora-all":  # the matrices of XLNet's attention are not layers, and Mamba has no attention
        method, targets = "lora", "all"
    if method == "lora":
        pytest.importorskip("peft")
    quick = {"steps": 15, "labeled_batch": 4, "unlabeled_batch": 1, "max_length": 64, "warmup": 0.0}
    return make_recipe("default", {"tuning": method, "lora_targets": targets, **SMALL, **quick})


def bound(folder: Path, recipe: Any) -> PVP:
    tokenizer = load_tokenizer(str(folder))
    blank = ModelInfo(str(folder)).blank
    words = WORDS | {"World": ("world",)} if blank.repeated else WORDS
    pattern = Pattern(parse_template("{text} {soft:it is about} {mask}", ["text"]), Verbalizer(words))
    options = {**encoder_options(recipe.tuning), "blank": blank}
    return bind_pattern(pattern, LABELS, tokenizer, recipe.encoding.max_length, **options)


def tokens_of(pvp: PVP, texts: list[str]) -> TokenTable:
    (key,) = pvp.encoder.keys
    return {
        key: Ragged.from_rows(
            pvp.encoder.plain.encode(texts, space_before=key.space_before, continuation=key.continuation)
        )
    }


def backbone_of(folder: Path) -> Backbone:
    """A model with weights as large as trained ones; with fresh ones a prompt has almost no effect."""
    model = open_model(str(folder))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4 if parameter.ndim > 1 else 1)
    return Backbone(model, str(folder), "hash")


def loss(scores: np.ndarray) -> float:
    """The cross-entropy of the training texts."""
    return float(torch.nn.functional.cross_entropy(torch.from_numpy(scores[:4]), torch.from_numpy(GOLD[:4])))


@pytest.mark.parametrize(("name", "method"), CASES)
def test_a_member_learns_is_saved_and_leaves_the_model_unchanged(
    family_model: Any, accelerator: Any, tmp_path: Path, name: str, method: str
):
    folder, recipe = family_model(name), recipe_of(method)
    pvp, backbone, tokenizer = bound(folder, recipe), backbone_of(folder), load_tokenizer(str(folder))
    before = {key: value.clone() for key, value in backbone.model.named_parameters()}
    tokens = tokens_of(pvp, [row["text"] * (1 + i % 4 // 3) for i, row in enumerate(ROWS[:16])])

    def scored(lm: Any, most: int = 4096) -> np.ndarray:
        return score_rows(lm, tokenizer, pvp, tokens, accelerator, max_tokens=most)

    lm = start_member(backbone, recipe.tuning, pvp, [tokens], 7, CPU)
    first = scored(lm)
    few = tokens_of(pvp, [row["text"] for row in ROWS[:4]])  # of each label one: every batch holds them all
    train_member(
        lm, pvp, ClozeData(few, GOLD[:4], tokens), recipe.with_settings(learning_rate=RATES[method]), 7, accelerator
    )
    after = scored(lm)
    assert loss(after) < loss(first) - 0.05
    assert np.abs(after - first).max() > 1e-2
    np.testing.assert_allclose(scored(lm, 1), after, atol=2e-4, rtol=1e-4)  # a text at a time, without padding
    save_member(backbone, recipe.tuning, tmp_path)
    assert (tmp_path / LEARNED).stat().st_size < 30_000
    backbone.restore()
    left = dict(backbone.model.named_parameters())
    assert left.keys() == before.keys()
    assert all(torch.equal(left[key], value) for key, value in before.items())
    again = attach(Backbone(backbone_of(folder).model, str(folder), "hash"), read_member(tmp_path), tmp_path)
    np.testing.assert_array_equal(scored(again), after)


@pytest.mark.parametrize(("name", "method"), [("t5", "lora"), ("t5", "prompt"), ("gpt2", "lora"), ("llama", "prompt")])
def test_a_run(family_model: Any, tmp_path: Path, name: str, method: str):
    recipe_of(method)  # skips where a library is not there
    inputs = write_inputs(tmp_path / "in")
    (inputs / "task.yaml").write_text(TASK.replace("{mask}: {text}", "{text} Topic: {mask}"), encoding="utf-8")
    small = [part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")]
    run = tmp_path / "run"
    pet(*run_options(inputs, family_model(name)), "--tuning", method, *small, "-o", run)
    assert (run / "g0" / "p2-r1" / LEARNED).stat().st_size < 30_000
    assert "accuracy" in json.loads((run / "metrics.json").read_text())["student"]
    pet("label", run, "--input", inputs / "pool.jsonl", "-o", tmp_path / "l.jsonl", "-q", "--device", "cpu")
    assert (tmp_path / "l.jsonl").read_bytes() == (run / "g0" / "labels.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("name", "method", "said"),
    [
        ("t5", "bitfit", "t5 model has no biases"),
        ("llama", "bitfit", "llama model has no biases"),
        ("mt5", "prefix", "a mt5 model reads two texts"),
        ("xlnet", "prefix", "the attention of a xlnet model"),
        ("xlnet", "lora", "--set lora_targets"),
    ],
)
def test_unsupported_combinations_are_refused_before_training(
    family_model: Any, tmp_path: Path, name: str, method: str, said: str
):
    if method == "lora":
        pytest.importorskip("peft")
    inputs = write_inputs(tmp_path / "in")
    (inputs / "task.yaml").write_text(TASK.replace("{mask}: {text}", "{text} Topic: {mask}"), encoding="utf-8")
    options = [*run_options(inputs, family_model(name)), "--tuning", method]
    assert said in refused(*options, "-o", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    checked = ["check", inputs / "task.yaml", "--model", family_model(name), "--max-length", 64, "--device", "cpu"]
    assert said in pet(*checked, "--set", f"tuning={method}", expect=2).stderr
