"""Tests that need a GPU, including the GPU benchmark."""

from __future__ import annotations

import json
from pathlib import Path

import gpu
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from families import FAMILIES
from tiny_text import LABELS, news_rows
from transformers import AutoTokenizer

from pet.backbones.int8 import check_int8
from pet.backbones.masked import MaskedLM
from pet.backbones.trained import load_masked_lm
from pet.cloze.pvp import PVP, bind_pattern
from pet.cloze.ragged import Ragged
from pet.cloze.tokens import TokenTable
from pet.errors import PetError
from pet.members.scoring import score_rows
from pet.members.training import ClozeData, train_member
from pet.recipe import make_recipe
from pet.task.grammar import parse_template
from pet.task.pattern import Pattern
from pet.task.verbalizer import Verbalizer
from pet.training.batching import to_tensors, write_back
from pet.training.device import make_accelerator

TEXTS = [" ".join(row["text"].split()[: 3 + i % 14]) for i, row in enumerate(news_rows())]
GOLD = np.array([LABELS.index(row["label"]) for row in news_rows()])


def _member(folder: Path) -> tuple[MaskedLM, AutoTokenizer, PVP, TokenTable]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    verbalizer = Verbalizer({label: (label.lower(),) for label in LABELS})
    pvp = bind_pattern(Pattern(parse_template("{mask} : {text}", ["text"]), verbalizer), LABELS, tokenizer, 40)
    key = pvp.encoder.keys[0]
    ids = pvp.encoder.plain.encode(TEXTS, space_before=key.space_before, continuation=key.continuation)
    return MaskedLM(load_masked_lm(str(folder))), tokenizer, pvp, {key: Ragged.from_rows(ids)}


@pytest.mark.gpu
@pytest.mark.parametrize("max_tokens", [60, 4096], ids=["runs of one length", "padded for attention"])
@pytest.mark.parametrize("name", list(FAMILIES))
def test_scores_equal_those_on_a_cpu(family_model, name, max_tokens):
    lm, tokenizer, pvp, tokens = _member(family_model(name))
    here = score_rows(lm, tokenizer, pvp, tokens, make_accelerator("cpu", "fp32"), max_tokens=4096)
    there = score_rows(lm, tokenizer, pvp, tokens, make_accelerator("cuda", "fp32"), max_tokens=max_tokens)
    np.testing.assert_allclose(there, here, atol=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_loss_of_a_member_falls(tiny_model, precision):
    lm, _tokenizer, pvp, tokens = _member(tiny_model)
    recipe = make_recipe("default", {"steps": 120, "labeled_batch": 8, "unlabeled_batch": 4})
    data = ClozeData(tokens, GOLD, tokens)
    losses = train_member(
        lm, pvp, data, recipe.with_settings(learning_rate=3e-3), 1, make_accelerator("cuda", precision)
    )
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.gpu
@pytest.mark.parametrize("count", [4, 40], ids=["runs of one length", "padded for attention"])
def test_scoring_a_batch_does_not_synchronize(tiny_model, count):
    lm, tokenizer, pvp, tokens = _member(tiny_model)
    device = torch.device("cuda")
    lm.to(device).eval()
    words = torch.from_numpy(pvp.words).to(device)
    batch = lm.scoring_batch(pvp.encoder.encode(tokens), np.arange(count), int(tokenizer.pad_token_id))
    with torch.inference_mode():
        expected = lm.word_scores(to_tensors(batch, device), words, pvp)
        torch.cuda.set_sync_debug_mode("error")
        try:
            found = lm.word_scores(to_tensors(batch, device), words, pvp)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(found, expected)


@pytest.mark.gpu
def test_delayed_results_are_written_to_their_rows():
    rows = np.random.default_rng(0).permutation(400).reshape(100, 4)
    out, told = np.zeros(400, dtype=np.float32), []
    write_back(out, ((chosen, torch.from_numpy(chosen).cuda().bfloat16().float()) for chosen in rows), told.append)
    np.testing.assert_array_equal(out, torch.arange(400).bfloat16().float().numpy())
    assert told == [4] * 100


@pytest.mark.gpu
def test_int8_on_a_gpu_is_rejected():
    with pytest.raises(PetError, match=r"--quantize.* cuda.*--device cpu"):
        check_int8(make_accelerator("cuda", "fp32").device)


def test_the_benchmark_needs_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = CliRunner().invoke(gpu.main, [])
    assert result.exit_code == 1 and "CUDA" in result.stderr
    assert result.stdout == ""


def test_the_gpu_benchmark_runs(tmp_path: Path):
    options = ["--device", "cpu", "--layers", "2", "--hidden", "64", "-o", str(tmp_path / "speed.jsonl")]
    result = CliRunner().invoke(gpu.main, options, catch_exceptions=False)
    assert result.exit_code == 0 and "label: " in result.stdout and "train: " in result.stdout
    line = json.loads((tmp_path / "speed.jsonl").read_text())
    assert line["program"] == "gpu" and line["shape"]["layers"] == 2
    for part, share in line["share_of_peak"].items():
        assert share > 0 and line["met"][part] == (share >= line["wanted"][part])
