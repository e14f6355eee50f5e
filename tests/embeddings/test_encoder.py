"""Texts as vectors: pooling, batches, and folders of sentence-transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from tiny_text import news_rows
from transformers import AutoModel, AutoTokenizer

from pet.embeddings.encoder import open_encoder, read_pooling
from pet.errors import PetError
from pet.student.classifier import TextInput
from pet.task.grammar import parse_template

pytestmark = pytest.mark.usefixtures("one_thread")
TEXTS = [row["text"] for row in news_rows()[:12]] + ["", "no"]
TABLE = Dataset.from_dict({"text": TEXTS})
INPUT = TextInput(("text",), parse_template("{text}", ["text"], mask=False))
POOLING = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token", "last": "pooling_mode_lasttoken"}


def _expected(folder: Path, pooling: str) -> np.ndarray:
    """One text at a time, by the library alone."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    rows = []
    for text in TEXTS:
        with torch.no_grad():
            states = model(**tokenizer(text, truncation=True, max_length=16, return_tensors="pt"))[0][0]
        row = {"mean": states.mean(dim=0), "cls": states[0], "last": states[-1]}[pooling].numpy()
        rows.append(row / np.linalg.norm(row))
    return np.array(rows)


def _with_pooling(model: Path, folder: Path, **mode: bool) -> Path:
    shutil.copytree(model, folder)
    modules = [
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **mode}))
    return folder


@pytest.mark.parametrize("budget", [32, 8192])
@pytest.mark.parametrize("pooling", POOLING)
def test_vectors_equal_those_of_single_texts(tiny_model, tmp_path, accelerator, pooling, budget):
    folder = _with_pooling(tiny_model, tmp_path / "st", **{POOLING[pooling]: True})
    found = open_encoder(str(folder), INPUT, 16).embed(TABLE, accelerator, max_tokens=budget)
    np.testing.assert_allclose(found, _expected(tiny_model, pooling), atol=2e-6)


def test_a_model_without_modules_is_mean_pooled(tiny_model):
    assert read_pooling(str(tiny_model)) == "mean"


@pytest.mark.parametrize("family", ["distilbert", "t5", "gpt2"])
def test_other_families_give_vectors_of_length_one_for_any_batch(family_model, accelerator, family):
    encoder = open_encoder(str(family_model(family)), INPUT, 16)
    found = encoder.embed(TABLE, accelerator, max_tokens=64)
    assert found.shape == (len(TEXTS), encoder.size)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(found, encoder.embed(TABLE, accelerator, max_tokens=1), atol=1e-5)


def test_a_pooling_or_module_that_is_not_supported_is_named(tiny_model, tmp_path):
    folder = _with_pooling(tiny_model, tmp_path / "max", pooling_mode_max_tokens=True)
    with pytest.raises(PetError, match="pooling_mode_max_tokens"):
        read_pooling(str(folder))
    (folder / "modules.json").write_text('[{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]')
    with pytest.raises(PetError, match="Dense"):
        read_pooling(str(folder))
    (folder / "modules.json").write_text("[1]")
    with pytest.raises(PetError, match=r"modules\.json"):
        read_pooling(str(folder))


def test_the_pooling_of_a_hub_model_is_read_too(tiny_model, tmp_path, monkeypatch):
    folder = _with_pooling(tiny_model, tmp_path / "snapshot", pooling_mode_cls_token=True)

    def cached_file(name: str, file: str) -> str:
        if not (folder / file).is_file():
            raise OSError(file)
        return str(folder / file)

    monkeypatch.setattr("pet.backbones.load.cached_file", cached_file)
    assert read_pooling("somebody/encoder") == "cls"


def test_an_encoder_without_some_of_its_weights_is_refused(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    del weights["bert.encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PetError, match=r"layer\.1\.output\.dense\.weight"):
        open_encoder(str(folder), INPUT, 16)
