"""XLNet: predictions at a position do not depend on the token there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_run import pet, run_options, write_inputs
from tiny_text import LABELS, news_rows
from transformers import AutoTokenizer, pipeline

from pet.backbones.info import ModelInfo
from pet.backbones.kinds import language_model, open_model
from pet.backbones.masked import MaskedLM, position_limit
from pet.cloze.pvp import PVP, bind_pattern
from pet.cloze.ragged import Ragged
from pet.cloze.tokens import TokenTable
from pet.members.scoring import score_rows
from pet.members.training import ClozeData, MemberObjective, member_batches, train_member
from pet.recipe import make_recipe
from pet.task.grammar import parse_template
from pet.task.pattern import Pattern
from pet.task.verbalizer import Verbalizer

ROWS = news_rows()
TEXTS = [row["text"] for row in ROWS]
GOLD = np.array([LABELS.index(row["label"]) for row in ROWS])
CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def folder(family_model: Any) -> Path:
    return family_model("xlnet")


def opened(folder: Path, noise: float = 0.2) -> MaskedLM:
    model = open_model(str(folder))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += noise * torch.randn(parameter.shape, generator=generator)
    lm = language_model(model).eval()
    assert isinstance(lm, MaskedLM)
    return lm


def bound(folder: Path, pattern: str) -> PVP:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    words = Verbalizer({label: (label.lower(),) for label in LABELS})
    blank = ModelInfo(str(folder)).blank
    return bind_pattern(Pattern(parse_template(pattern, ["text"]), words), LABELS, tokenizer, 48, blank=blank)


def tokens_of(pvp: PVP, texts: list[str]) -> TokenTable:
    (key,) = pvp.encoder.keys
    plain = pvp.encoder.plain
    return {key: Ragged.from_rows(plain.encode(texts, space_before=key.space_before, continuation=key.continuation))}


def plain_logits(model: Any, ids: torch.Tensor, types: torch.Tensor, places: list[int]) -> torch.Tensor:
    """Score one row with the head of transformers."""
    width = len(ids)
    hidden = torch.zeros(1, width, width)
    hidden[:, :, places] = 1
    targets = torch.nn.functional.one_hot(torch.tensor([places]), width).float()
    return model(input_ids=ids[None], token_type_ids=types[None], perm_mask=hidden, target_mapping=targets).logits[0]


@pytest.mark.parametrize("pattern", ["{text} It was {mask}.", "{mask}: {text} || All in all news."])
def test_scores_equal_a_plain_computation(folder: Path, accelerator: Any, pattern: str):
    lm, tokenizer, pvp = opened(folder), AutoTokenizer.from_pretrained(folder), bound(folder, pattern)
    tokens = tokens_of(pvp, ["", "The team won.", " ".join(TEXTS[:3])])
    rows = pvp.encoder.encode(tokens)
    expected = []
    for i in range(len(rows)):
        first, last = rows.ids.offsets[i : i + 2]
        ids, types = torch.from_numpy(rows.ids[i]).long(), torch.from_numpy(rows.types[first:last]).long()
        with torch.no_grad():
            expected.append(plain_logits(lm.model, ids, types, [int(rows.mask_position[i])])[0, pvp.words])
    assert torch.stack(expected).std(dim=0).min() > 1e-2
    for most in (4096, 1):
        found = score_rows(lm, tokenizer, pvp, tokens, accelerator, max_tokens=most)
        np.testing.assert_allclose(found, torch.stack(expected).numpy(), atol=1e-4)


def test_the_token_at_the_mask_does_not_matter(folder: Path):
    lm, tokenizer = opened(folder), AutoTokenizer.from_pretrained(folder)
    batch = dict(tokenizer("The team won the match.", return_tensors="pt"))
    where = torch.tensor([0]), torch.tensor([2])
    with torch.no_grad():
        first = lm.word_logits(batch, *where, None)
        batch["input_ids"][0, 2] = 77
        second = lm.word_logits(batch, *where, None)
        batch["input_ids"][0, 3] = 77
        third = lm.word_logits(batch, *where, None)
    torch.testing.assert_close(first, second, atol=0, rtol=0)
    assert (first - third).abs().max() > 1e-2


def test_losses_of_a_batch_equal_those_of_single_rows(folder: Path):
    """Compare both losses with single rows: hidden tokens of a row do not see each other."""
    lm, pvp = opened(folder), bound(folder, "{text} It was {mask}.")
    recipe = make_recipe("default", {"labeled_batch": 4, "unlabeled_batch": 3, "mlm_probability": 0.3})
    tokens = tokens_of(pvp, TEXTS)
    batch = next(member_batches(lm, pvp, ClozeData(tokens, GOLD, tokens), recipe.member, CPU, 5))
    found = []
    for row in range(7):
        real = batch["attention_mask"][row].bool()
        places = batch["positions"][batch["rows"] == row].tolist()
        ids, types = batch["input_ids"][row][real], batch["token_type_ids"][row][real]
        found.append(plain_logits(lm.model, ids, types, places))
    scores = torch.cat(found[:4])[:, pvp.words]
    expected = 0.6 * torch.nn.functional.cross_entropy(scores, batch["labels"])
    expected += 0.4 * torch.nn.functional.cross_entropy(torch.cat(found[4:]), batch["targets"])
    assert len(batch["targets"]) > 3
    torch.testing.assert_close(MemberObjective(lm, pvp, 0.4)(batch), expected, atol=1e-4, rtol=1e-4)


def test_a_member_learns_an_easy_task(folder: Path, accelerator: Any):
    lm, tokenizer, pvp = opened(folder, 0), AutoTokenizer.from_pretrained(folder), bound(folder, "{text} {mask}.")
    assert position_limit(lm.model) == 1 << 20
    tokens = tokens_of(pvp, TEXTS)
    recipe = make_recipe("default", {"steps": 60, "unlabeled_batch": 2})
    train_member(lm, pvp, ClozeData(tokens, GOLD, tokens), recipe.with_settings(learning_rate=5e-3), 1, accelerator)
    after = score_rows(lm, tokenizer, pvp, tokens, accelerator, max_tokens=2048).argmax(axis=1)
    assert (after == GOLD).mean() > 0.8


def test_a_run_and_its_student_work_with_xlnet(folder: Path, tmp_path: Path):
    inputs, run = write_inputs(tmp_path / "in"), tmp_path / "run"
    pet(*run_options(inputs, folder), "-o", run)
    pet("label", run, "--input", inputs / "pool.jsonl", "-o", tmp_path / "l.jsonl", "-q", "--device", "cpu")
    assert (tmp_path / "l.jsonl").read_bytes() == (run / "g0" / "labels.jsonl").read_bytes()
    pet("predict", run / "student", "--input", inputs / "test.jsonl", "-o", tmp_path / "p.jsonl", "--device", "cpu")
    found = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    classify = pipeline("text-classification", str(run / "student"), device="cpu", top_k=None)
    texts = [json.loads(line)["text"] for line in (inputs / "test.jsonl").read_text().splitlines()]
    for row, text in zip(found, texts, strict=True):  # padded batch compared with single texts
        alone = {item["label"]: item["score"] for item in classify([text])[0]}
        assert alone == pytest.approx(row["probabilities"], abs=1e-5)
