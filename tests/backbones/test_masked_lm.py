"""Logits of chosen words at chosen positions, compared with running the whole model."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from families import FAMILIES, POSITIONS, build_family
from torch import nn
from torch.nn import functional as F
from transformers import AutoModelForMaskedLM, AutoTokenizer

from pet.backbones import masked
from pet.backbones.load import load_config
from pet.backbones.masked import MaskedLM, check_length, position_limit
from pet.backbones.trained import load_masked_lm
from pet.errors import PetError

every_family = pytest.mark.parametrize("name", list(FAMILIES))
TEXTS = ["It was good.", "The river rose in the night and the old bridge was closed", "no"]
PAIRS = ["A lovely film", "bad", "The soup was cold, the waiter was rude"]


def _batch(folder: Path) -> dict[str, torch.Tensor]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = dict(tokenizer(TEXTS, PAIRS, padding=True, return_tensors="pt"))
    batch.setdefault("token_type_ids", torch.zeros_like(batch["input_ids"]))
    return batch


def _all_logits(model: nn.Module, batch: dict[str, torch.Tensor], types: bool) -> torch.Tensor:
    return model(**{name: values for name, values in batch.items() if types or name != "token_type_ids"}).logits


ROWS, PLACES = torch.tensor([0, 1, 1, 2, 0]), torch.tensor([2, 7, 1, 4, 2])
SOME_WORDS = torch.tensor([17, 0, 600, 42])


def _with_random_biases(model: nn.Module) -> nn.Module:
    """Randomize biases and norms: new models have 0 and 1, which would hide a forgotten one."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model


@every_family
@pytest.mark.parametrize("words", [None, SOME_WORDS], ids=["all", "some"])
def test_word_logits_equal_those_of_the_whole_model(family_model, name, words):
    lm = MaskedLM(_with_random_biases(load_masked_lm(str(family_model(name))))).eval()
    assert lm._find_head is not None
    batch = _batch(family_model(name))
    with torch.no_grad():
        expected = _all_logits(lm.model, batch, lm.has_token_types)[ROWS, PLACES]
        found = lm.word_logits(batch, ROWS, PLACES, words)
    torch.testing.assert_close(found, expected if words is None else expected[:, words], atol=1e-5, rtol=1e-5)


@every_family
def test_training_with_the_used_words_alone_changes_the_weights_alike(family_model, name):
    lms = [MaskedLM(_with_random_biases(load_masked_lm(str(family_model(name))))).eval() for _ in range(2)]
    batch, whole, tokens = _batch(family_model(name)), [], []
    for lm, only in zip(lms, (False, True), strict=True):
        used = np.concatenate([batch["input_ids"].flatten().numpy(), SOME_WORDS.numpy()])
        with lm.used_words(used, 0.99**2) if only else nullcontext():
            optimizer = torch.optim.AdamW(lm.parameters(), lr=0.1, weight_decay=0.1, eps=0.1)  # decays by 0.99
            tokens.append(len(lm.model.get_input_embeddings().weight))
            for _ in range(2):
                lm.word_logits(batch, ROWS, PLACES, SOME_WORDS).square().mean().backward()
                optimizer.step()
                optimizer.zero_grad()
        whole.append(lm.model.state_dict())
    assert tokens[1] < tokens[0]
    for parameter, values in whole[0].items():
        torch.testing.assert_close(whole[1][parameter], values, atol=1e-4, rtol=1e-4, msg=parameter)


@pytest.mark.parametrize("name", ["bert", "deberta-v3"])
def test_gradients_equal_those_of_the_whole_model(family_model, name):
    lm = MaskedLM(_with_random_biases(load_masked_lm(str(family_model(name))))).eval()
    batch = _batch(family_model(name))
    targets = torch.tensor([0, 3, 1, 2, 0])

    def gradients(logits: torch.Tensor) -> dict[str, torch.Tensor]:
        lm.zero_grad()
        F.cross_entropy(logits, targets).backward()
        return {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in lm.model.named_parameters()}

    whole = gradients(_all_logits(lm.model, batch, lm.has_token_types)[ROWS, PLACES][:, SOME_WORDS])
    picked = gradients(lm.word_logits(batch, ROWS, PLACES, SOME_WORDS))
    assert max(float(g.abs().max()) for g in whole.values()) > 1e-3
    for key in whole:
        torch.testing.assert_close(picked[key], whole[key], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    "name", ["bert", "roberta", "albert", "electra", "distilbert", "deberta-v2", "mpnet", "modernbert"]
)
def test_a_family_without_a_known_head_has_the_same_logits(family_model, name, monkeypatch):
    model = _with_random_biases(load_masked_lm(str(family_model(name)))).eval()
    batch = _batch(family_model(name))
    with torch.no_grad():
        expected = MaskedLM(model).word_logits(batch, ROWS, PLACES, SOME_WORDS)
        monkeypatch.delitem(masked._HEADS, model.config.model_type)
        lm = MaskedLM(model)
        assert lm._find_head is None
        shapes: list[torch.Size] = []
        model.get_output_embeddings().register_forward_hook(lambda _m, _i, logits: shapes.append(logits.shape[:-1]))
        torch.testing.assert_close(lm.word_logits(batch, ROWS, PLACES, SOME_WORDS), expected, atol=1e-5, rtol=1e-5)
        assert all(shape == (1, len(ROWS)) for shape in shapes)  # its head sees nothing else


@every_family
def test_the_vocabulary_is_never_multiplied_by_the_whole_sequence(family_model, name, monkeypatch):
    lm = MaskedLM(load_masked_lm(str(family_model(name)))).eval()
    batch = _batch(family_model(name))
    vocabulary = lm.model.config.vocab_size
    shapes: list[tuple[int, ...]] = []
    linear = F.linear

    def watched(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        shapes.append((inputs.numel() // inputs.shape[-1], weight.shape[0]))
        return linear(inputs, weight, bias)

    def refuse(*_: object) -> None:
        raise AssertionError("the model's own output layer was run")

    monkeypatch.setattr(F, "linear", watched)
    for key, module in lm.model.named_modules():
        is_output = isinstance(module, nn.Linear) and module.out_features == vocabulary
        if is_output or key in ("cls", "lm_head", "predictions", "lm_predictions"):  # heads as a whole
            module.register_forward_pre_hook(refuse)
    with torch.no_grad():
        lm.word_logits(batch, ROWS, PLACES, SOME_WORDS)
        assert shapes[-1] == (5, 4)
        assert all(rows <= 5 for rows, columns in shapes if columns == vocabulary)
        shapes.clear()
        lm.word_logits(batch, ROWS, PLACES, None)
    assert [rows for rows, columns in shapes if columns == vocabulary] == [5]


@every_family
def test_a_saved_model_gives_the_same_scores(family_model, name, tmp_path: Path):
    lm = MaskedLM(_with_random_biases(load_masked_lm(str(family_model(name))))).eval()
    lm.model.save_pretrained(tmp_path, safe_serialization=True)
    again = MaskedLM(load_masked_lm(str(tmp_path))).eval()
    batch = _batch(family_model(name))
    with torch.no_grad():
        expected = lm.word_logits(batch, ROWS, PLACES, None)
        torch.testing.assert_close(again.word_logits(batch, ROWS, PLACES, None), expected, atol=0, rtol=0)


@every_family
def test_padding_does_not_change_scores(family_model, name):
    lm = MaskedLM(_with_random_biases(load_masked_lm(str(family_model(name))))).eval()
    batch = _batch(family_model(name))
    alone = {key: values[2:3, : int(batch["attention_mask"][2].sum())] for key, values in batch.items()}
    with torch.no_grad():
        padded = lm.word_logits(batch, torch.tensor([2]), torch.tensor([1]), None)
        bare = lm.word_logits(alone, torch.tensor([0]), torch.tensor([1]), None)
    torch.testing.assert_close(padded, bare, atol=2e-5, rtol=1e-4)


# --- lengths -----------------------------------------------------------------------------------------


@every_family
def test_the_position_limit_is_found_from_the_model(family_model, name):
    model = AutoModelForMaskedLM.from_pretrained(family_model(name)).eval()
    assert position_limit(model) == POSITIONS
    # no id is padding, which RoBERTa's positions skip
    longest = torch.full((1, POSITIONS), 20)
    with torch.no_grad():
        assert torch.isfinite(model(input_ids=longest, attention_mask=torch.ones_like(longest)).logits).all()
    check_length(model, POSITIONS, name)
    with pytest.raises(PetError, match=rf"model {name} .*{POSITIONS} .*--max-length is 97"):
        check_length(model, POSITIONS + 1, name)


@pytest.mark.parametrize("name", ["bert", "roberta", "mpnet", "xlm-r"])
def test_one_token_more_than_the_position_limit_fails(family_model, name):
    model = AutoModelForMaskedLM.from_pretrained(family_model(name)).eval()
    too_long = torch.full((1, POSITIONS + 1), 20)
    with pytest.raises((IndexError, RuntimeError)), torch.no_grad():
        model(input_ids=too_long, attention_mask=torch.ones_like(too_long))


# --- models that cannot fill a blank -----------------------------------------------------------------


def test_a_model_without_a_trained_head_is_rejected(family_model, tmp_path: Path):
    model = AutoModelForMaskedLM.from_pretrained(family_model("bert"))
    model.base_model.save_pretrained(tmp_path)
    with pytest.raises(PetError, match=r"no trained weights for cls\.predictions"):
        load_masked_lm(str(tmp_path))


def test_both_kinds_of_deberta_heads_are_supported(tmp_path: Path):
    for name, legacy in (("deberta-v2", True), ("deberta-v3", False)):
        model = load_masked_lm(str(build_family(name, tmp_path / name)))
        assert getattr(model.config, "legacy", True) is legacy
        assert MaskedLM(model)._find_head is masked._deberta


def test_a_full_batch_on_a_gpu_has_no_attention_mask(family_model):
    lm = MaskedLM(load_masked_lm(str(family_model("distilbert"))))
    ids = torch.zeros(2, 3, dtype=torch.int64)
    batch = {"input_ids": ids, "attention_mask": ids, "lengths": torch.tensor([3, 3])}
    away = {name: x if name == "lengths" else x.to("meta") for name, x in batch.items()}
    assert set(lm._inputs(batch)) == {"input_ids", "attention_mask"}
    assert set(lm._inputs(away)) == {"input_ids"}
    assert set(lm._inputs(away | {"lengths": torch.tensor([3, 2])})) == {"input_ids", "attention_mask"}


@every_family
def test_fused_attention_is_used_if_the_family_supports_it(family_model, name):
    model = load_masked_lm(str(family_model(name)))
    assert (model.config._attn_implementation == "sdpa") == bool(getattr(model, "_supports_sdpa", False))


def test_scoring_on_a_gpu_uses_lengths_without_synchronizing(family_model, monkeypatch):
    lm = MaskedLM(load_masked_lm(str(family_model("bert"))))
    batch = _batch(family_model("bert"))
    lengths = batch["attention_mask"].sum(dim=1)
    away = {name: values.to("meta") for name, values in batch.items()}  # reading these would fail
    monkeypatch.setattr(masked, "packed_features_on_gpu", lambda base, layers, inputs, given, *_: given)
    assert lm._hidden(away | {"lengths": lengths}, ROWS.to("meta"), PLACES.to("meta")) is lengths


def test_scores_of_bigbird_do_not_depend_on_the_texts_before(tmp_path: Path):
    """Its sparse attention would be given up at the first batch of short texts."""
    config = transformers.BigBirdConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=512, block_size=16, num_random_blocks=1, initializer_range=0.3,
    )  # fmt: skip
    transformers.BigBirdForMaskedLM(config).save_pretrained(tmp_path)
    assert load_config(str(tmp_path)).attention_type == "original_full"
    model = load_masked_lm(str(tmp_path)).eval()
    long, short = torch.arange(250)[None] % 45 + 5, torch.arange(5, 20)[None]
    with torch.inference_mode():
        before, _, after = (model(ids).logits for ids in (long, short, long))
    assert torch.equal(before, after)
