"""GGUF files: what is refused, and a real model."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import llm_server
import numpy as np
import pytest
import torch

from pet.backbones import gguf
from pet.backbones.info import ModelInfo
from pet.backbones.place import resolve_model
from pet.errors import Notice, PetError
from pet.run.settings import absolute
from pet.teachers.address import parse_address


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def refused(path: Path) -> str:
    with pytest.raises(PetError) as caught, pytest.warns(Notice):
        resolve_model(str(path))
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_file_that_is_no_gguf_is_refused_and_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"PK\x03\x04")
    assert "not a GGUF file" in refused(tmp_path / "model.gguf")
    assert not cache.exists()


def test_a_damaged_file_is_refused_and_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    pytest.importorskip("gguf")
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + bytes(range(256)))
    assert "download it again" in refused(tmp_path / "model.gguf")
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_the_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf, "is_installed", lambda name: False)
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    assert "[gguf]" in refused(tmp_path / "model.gguf")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PetError, match="file not found"):
        resolve_model(str(tmp_path / "nowhere.gguf"))


def test_a_run_keeps_the_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.chdir(tmp_path)
    assert absolute("model.gguf", only_folder=True) == str(tmp_path / "model.gguf")


@pytest.mark.llm
@pytest.mark.slow
def test_a_real_model_predicts_real_words_as_llama_cpp_does(llm_address: str) -> None:
    pytest.importorskip("gguf")
    info = ModelInfo(str(llm_server.weights()))
    with pytest.warns(Notice, match="converted once"):
        info.check()
    assert info.config.model_type == "llama" and 100_000_000 < info.parameters < 200_000_000
    tokenizer, model = info.tokenizer, info.open().model.eval()
    ids = tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        logits = model(input_ids=ids).logits[0, -1].float().numpy()
    assert tokenizer.decode(int(np.argmax(logits))).strip() == "Paris"
    assert resolve_model(info.name) == info.path  # the second time, nothing is converted
    # llama.cpp also rounds what the layers compute, so log-probabilities differ by some hundredths.
    url = parse_address(llm_address).url.removesuffix("/v1")
    for text in ("The capital of France is", "A gripping film. It was", "Stocks fell as oil rose. This text is about"):
        ids = tokenizer(text)["input_ids"]
        top = next_tokens(url, ids)
        with torch.inference_mode():
            ours = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0, -1].float(), dim=0).numpy()
        difference = np.abs([ours[token] - value for token, value in top.items()])
        assert next(iter(top)) == ours.argmax() and difference.mean() < 0.15 and difference.max() < 0.5, difference


def next_tokens(url: str, ids: list[int]) -> dict[int, float]:
    """Return the log-probabilities of the 20 most probable next tokens, by llama.cpp."""
    asked = {"prompt": ids, "n_predict": 1, "n_probs": 20, "temperature": 0}
    request = urllib.request.Request(f"{url}/completion", json.dumps(asked).encode())
    with urllib.request.urlopen(request, timeout=300) as answer:
        top = json.load(answer)["completion_probabilities"][0]["top_logprobs"]
    return {entry["id"]: entry["logprob"] for entry in top}
