"""Labeled examples before a text: which ones, in which order, and how many fit."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_run import TASK, pet, refused, run_options, write_inputs
from tiny_text import LABELS
from transformers import AutoTokenizer

from pet.backbones.info import ModelInfo
from pet.cloze.priming import choose_primers
from pet.cloze.pvp import PVP, bind_pattern, prime_pattern
from pet.cloze.ragged import Ragged
from pet.cloze.tokens import TokenTable
from pet.task.grammar import parse_template
from pet.task.pattern import Pattern
from pet.task.verbalizer import Verbalizer

TEXTS = ["The team won the match.", "Shares of the bank fell.", "The team scored.", "Voters chose a president."]
TOPICS = np.array([1, 2, 1, 0])
WORDS = {"World": ("politics", "world"), "Sports": ("sports",), "Business": ("business",), "Technology": ("news",)}

pytestmark = pytest.mark.usefixtures("one_thread")


def tokens_of(pvp: PVP, texts: list[str]) -> TokenTable:
    plain = pvp.encoder.plain
    return {
        key: Ragged.from_rows(plain.encode(texts, space_before=key.space_before, continuation=key.continuation))
        for key in pvp.encoder.keys
    }


def primed(folder: Path, pattern: str, choice: str = "random", count: int = 2, length: int = 90) -> PVP:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    words = dict(WORDS)
    blank = ModelInfo(str(folder)).blank
    if blank.repeated:
        words["World"] = ("world",)
    parsed = Pattern(parse_template(pattern, ["text"]), Verbalizer(words))
    pvp = bind_pattern(parsed, LABELS, tokenizer, length, blank=blank)
    return prime_pattern(pvp, tokens_of(pvp, TEXTS), TOPICS, count, choice, np.random.default_rng(3))


def read(pvp: PVP, text: str) -> tuple[list[int], int]:
    row = pvp.encoder.encode(tokens_of(pvp, ["", text]), np.array([1]))
    return row.ids[0].tolist(), int(row.mask_position[0])


@pytest.mark.parametrize("name", ["gpt2", "qwen2", "llama"])
def test_causal_models_separate_examples_by_line_breaks(family_model: Any, name: str):
    tokenizer = AutoTokenizer.from_pretrained(family_model(name))
    pvp = primed(family_model(name), "{text} It was {mask}.", count=4)
    ids, mask = read(pvp, "The market rose.")
    first, *others = tokenizer.decode(ids).removeprefix("<s>").strip().splitlines()
    lines = [line.strip() for line in (first, *others)]
    answers = ["sports", "business", "sports", "politics"]
    assert sorted(lines[:-1]) == sorted(f"{a} It was {b}" for a, b in zip(TEXTS, answers, strict=True))
    assert lines[-1] == "The market rose. It was"
    assert mask == len(ids)
    if name != "llama":  # Llama marks the start of every text
        assert ids == tokenizer("\n".join(lines))["input_ids"]
    assert ids.count(tokenizer.bos_token_id) == (name == "llama")


@pytest.mark.parametrize(("name", "pattern"), [("bert", "{mask}: {text} || News"), ("t5", "Topic {mask}: {text}")])
def test_examples_follow_the_leading_special_tokens(family_model: Any, name: str, pattern: str):
    folder = family_model(name)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pvp = primed(folder, pattern)
    ids, mask = read(pvp, "The market rose.")
    plain, plain_mask = read(bind_again(pvp, folder, pattern), "The market rose.")
    start = 1 if name == "bert" else 0
    assert ids[:start] == plain[:start]
    assert ids[len(ids) - (len(plain) - start) :] == plain[start:]
    assert ids[mask] == pvp.encoder.blank.ids[0] == plain[plain_mask]
    assert ids.count(ids[mask]) == 1  # the examples contain label words instead of masks
    assert mask - plain_mask == len(ids) - len(plain) > 10
    special = set(tokenizer.all_special_ids)
    assert not special & set(ids[start:mask])
    types = pvp.encoder.encode(tokens_of(pvp, ["The market rose."])).types.tolist()
    second = tokenizer("News", add_special_tokens=False)["input_ids"]
    assert types == [0] * (len(ids) - len(second) - 1) + [1] * (len(second) + 1) or name == "t5"


def bind_again(pvp: PVP, folder: Path, pattern: str) -> PVP:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    parsed = Pattern(parse_template(pattern, ["text"]), Verbalizer({k: v[-1:] for k, v in WORDS.items()}))
    return bind_pattern(parsed, LABELS, tokenizer, pvp.encoder.max_length, blank=pvp.encoder.blank)


def test_examples_that_do_not_fit_are_omitted_as_a_whole(family_model: Any):
    folder = family_model("gpt2")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    seen = set()
    for length in range(20, 90, 3):
        pvp = primed(folder, "{text} It was {mask}.", count=4, length=length)
        ids, _ = read(pvp, "The market rose.")
        assert len(ids) <= length
        *examples, last = tokenizer.decode(ids).splitlines()
        assert last == "The market rose. It was"
        assert all(line.rsplit(" It was ", 1)[0] in TEXTS for line in examples)
        seen.add(len(examples))
    assert seen == {0, 1, 2, 3, 4}
    ids, _ = read(primed(folder, "{text} It was {mask}.", count=4, length=30), "The market rose. " * 40)
    assert tokenizer.decode(ids).endswith(" It was")  # a long text leaves no room for examples


def test_the_most_similar_example_comes_last(family_model: Any):
    folder = family_model("gpt2")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pvp = primed(folder, "{text} It was {mask}.", "similar")
    for text, nearest in (("Shares rose and the bank fell.", 1), ("A president and voters.", 3)):
        lines = tokenizer.decode(read(pvp, text)[0]).splitlines()
        assert len(lines) == 3
        assert lines[1].startswith(TEXTS[nearest])
    alone = pvp.encoder.encode(tokens_of(pvp, ["", "Shares fell."]))  # a text without words is similar to nothing
    assert len(alone) == 2


@pytest.mark.parametrize("choice", ["similar", "random", "balanced"])
def test_a_text_is_never_its_own_example(family_model: Any, choice: str):
    folder = family_model("gpt2")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pvp = primed(folder, "{text} It was {mask}.", choice, count=4)
    for text in TEXTS:
        *examples, last = tokenizer.decode(read(pvp, text)[0]).splitlines()
        assert last == f"{text} It was"
        assert sorted(line.rsplit(" It was ", 1)[0] for line in examples) == sorted(set(TEXTS) - {text})


def test_random_examples_are_distinct_and_balanced_ones_are_balanced():
    labels = np.array([0] * 20 + [1] * 3 + [2])
    draws = [choose_primers(labels, 6, True, np.random.default_rng(seed)) for seed in range(20)]
    assert all(Counter(labels[draw].tolist()) in ({0: 3, 1: 2, 2: 1}, {0: 2, 1: 3, 2: 1}) for draw in draws)
    assert len({tuple(draw) for draw in draws}) > 10
    assert sorted(choose_primers(labels, 99, True, np.random.default_rng(0))) == list(range(24))
    random = [choose_primers(labels, 6, False, np.random.default_rng(seed)) for seed in range(50)]
    assert 4.4 < np.mean([(labels[draw] == 0).sum() for draw in random]) < 5.6  # in proportion: 20 of 24


@pytest.mark.parametrize(
    ("name", "selection", "count"), [("bert", "balanced", 3), ("gpt2", "similar", 9), ("t5", "random", 3)]
)
def test_a_primed_run_and_label_give_the_same_scores(
    family_model: Any, tmp_path: Path, name: str, selection: str, count: int
):
    inputs = write_inputs(tmp_path / "in")
    (inputs / "task.yaml").write_text(TASK.replace("{mask}: {text}", "{text} Topic: {mask}"), encoding="utf-8")
    odd = {"id": "u", "text": "One line.\u2028Another.", "label": "World"}  # JSON does not escape this line break
    with (inputs / "train.jsonl").open("a", encoding="utf-8") as train:
        train.write(json.dumps(odd, ensure_ascii=False) + "\n")
    options = [*run_options(inputs, family_model(name)), "--method", "zero-shot", "--set", f"priming={count}"]
    options += ["--set", f"priming_selection={selection}", "--max-length", "90"]
    said = pet(*options, "-o", tmp_path / "run").stderr
    assert ("--max-length" in said) == (count == 9)
    assert "accuracy" in json.loads((tmp_path / "run" / "metrics.json").read_text())["ensemble"]
    (inputs / "train.jsonl").unlink()  # the run has its own copy of the examples
    pet("label", tmp_path / "run", "--input", inputs / "pool.jsonl", "-o", tmp_path / "l.jsonl", "--device", "cpu")
    primed_labels = (tmp_path / "run" / "g0" / "labels.jsonl").read_bytes()
    assert (tmp_path / "l.jsonl").read_bytes() == primed_labels
    plain = [*run_options(inputs, family_model(name), parts=("unlabeled", "test")), "--method", "zero-shot"]
    pet(*plain, "--max-length", "90", "-o", tmp_path / "plain")
    assert (tmp_path / "plain" / "g0" / "labels.jsonl").read_bytes() != primed_labels


def test_priming_requires_zero_shot_and_labeled_examples(tiny_model: Path, tmp_path: Path):
    inputs = write_inputs(tmp_path / "in")
    primed = [*run_options(inputs, tiny_model), "--set", "priming=3", "-o", tmp_path / "run"]
    assert "--method zero-shot" in refused(*primed)
    without = [*run_options(inputs, tiny_model, parts=("test",)), "--method", "zero-shot", "--set", "priming=3"]
    assert "--train" in refused(*without, "-o", tmp_path / "run")
    assert "random, balanced or similar" in refused(*primed, "--set", "priming_selection=best")
    assert not (tmp_path / "run").exists()
